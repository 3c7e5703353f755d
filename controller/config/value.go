package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const envPrefix = "DFAAS_"

func (o option) flag() string { return strings.ReplaceAll(o.key, "_", "-") }
func (o option) env() string  { return envPrefix + strings.ToUpper(o.key) }

// Kinds of options that are treated apart from the others.
const (
	kindList = "list" // takes several values
	kindBool = "bool"
)

// kind names the type of the option's value, for people.
func (o option) kind() string {
	switch o.value(new(Config)).(type) {
	case *[]string:
		return kindList
	case *bool:
		return kindBool
	case *time.Duration:
		return "duration"
	case *float64:
		return "number"
	default:
		return "string"
	}
}

// set writes values, as the user wrote them, into the option's field. A list
// takes any number, every other option exactly one.
func (o option) set(c *Config, values []string) error {
	if list, ok := o.value(c).(*[]string); ok {
		*list = values
		return nil
	}
	if len(values) != 1 {
		return errors.New("takes one value, not a list")
	}
	value := values[0]
	switch field := o.value(c).(type) {
	case *string:
		*field = value
	case *bool:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", value)
		}
		*field = b
	case *float64:
		f, err := strconv.ParseFloat(value, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("%q is not a number", value)
		}
		*field = f
	case *time.Duration:
		d, err := time.ParseDuration(value)
		if err != nil {
			return fmt.Errorf("%q is not a duration: write a number and a unit, such as 500ms or 1s", value)
		}
		*field = d
	default:
		return fmt.Errorf("has a type (%T) that cannot be set", field)
	}
	return nil
}

// format writes the option's value as a user would, lists joined by commas.
func (o option) format(c *Config) string {
	switch field := o.value(c).(type) {
	case *[]string:
		return strings.Join(*field, ",")
	case *string:
		return *field
	case *bool:
		return strconv.FormatBool(*field)
	case *float64:
		return strconv.FormatFloat(*field, 'f', -1, 64)
	case *time.Duration:
		return field.String()
	default:
		return ""
	}
}

// parse splits what a flag or variable says and sets it.
func (o option) parse(c *Config, s string) error {
	if o.kind() == kindList {
		return o.set(c, splitList(s))
	}
	return o.set(c, []string{s})
}

// splitList cuts a comma-separated list, as flags and variables give it.
func splitList(s string) []string {
	values := []string{}
	for v := range strings.SplitSeq(s, ",") {
		if v = strings.TrimSpace(v); v != "" {
			values = append(values, v)
		}
	}
	return values
}
