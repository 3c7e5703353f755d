package simulator

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// ParseFault reads a fault as it is written on a command line, at nodes of this
// instance, and what undoes it:
//
//	kill NODE PART at 20s [for 10s]
//	stop NODE PART at 20s [for 10s]
//	continue NODE PART at 30s
//	restart NODE PART at 20s
//	reload NODE haproxy at 20s
//	partition NODE,NODE at 20s [for 10s]
//	heal [NODE,NODE] at 30s
func (i *Instance) ParseFault(text string) ([]Fault, error) {
	f, err := i.parseFault(text)
	if err != nil {
		return nil, fmt.Errorf("fault %q: %w", text, err)
	}
	return f, nil
}

func (i *Instance) parseFault(text string) ([]Fault, error) {
	words := strings.Fields(text)
	at, lasting, words, err := when(words)
	if err != nil {
		return nil, err
	}
	if len(words) == 0 {
		return nil, errors.New("it does nothing: begin with kill, stop, continue, restart, reload, partition or heal")
	}
	f := Fault{At: at}
	if f.Do, err = scenario.ParseAction(words[0]); err != nil {
		return nil, err
	}
	if f.Do.OnLink() {
		return nil, fmt.Errorf("%s is for the links of a scenario's topology", f.Do)
	}
	words = words[1:]
	if len(words) > 0 {
		for name := range strings.SplitSeq(words[0], ",") {
			n := slices.IndexFunc(i.Nodes, func(n Node) bool { return n.Name == name })
			if n < 0 {
				return nil, fmt.Errorf("there is no node %q", name)
			}
			f.Nodes = append(f.Nodes, n)
		}
		words = words[1:]
	}
	onParts := onPart(f.Do)
	switch {
	case onParts && len(words) == 1:
		if f.Part, err = scenario.ParsePart(words[0]); err != nil {
			return nil, err
		}
	case onParts:
		return nil, fmt.Errorf("%s needs a node and a part", f.Do)
	case len(words) > 0:
		return nil, fmt.Errorf("%s is done to whole nodes, not to %q", f.Do, words[0])
	}
	if err := f.check(len(i.Nodes), nil); err != nil {
		return nil, err
	}
	if lasting == 0 {
		return []Fault{f}, nil
	}
	undo := f
	undo.At += lasting
	switch f.Do {
	case scenario.Kill:
		undo.Do = scenario.Restart
	case scenario.Stop:
		undo.Do = scenario.Continue
	case scenario.Partition:
		undo.Do = scenario.Heal
	default:
		return nil, fmt.Errorf("only kill, stop and partition last, %s does not", f.Do)
	}
	return []Fault{f, undo}, nil
}

// when takes the times out of the words.
func when(words []string) (at, lasting time.Duration, rest []string, err error) {
	given := false
	for k := 0; k < len(words); k++ {
		if words[k] != "at" && words[k] != "for" {
			rest = append(rest, words[k])
			continue
		}
		if k+1 == len(words) {
			return 0, 0, nil, fmt.Errorf("no time behind %q", words[k])
		}
		least := time.Duration(0)
		if words[k] == "for" {
			least = time.Millisecond // for no time at all would be for ever
		}
		d, err := time.ParseDuration(words[k+1])
		if err != nil || d < least || d > maxDuration {
			return 0, 0, nil, fmt.Errorf("behind %q, a time of %v to %v is expected, not %q", words[k], least, maxDuration, words[k+1])
		}
		if words[k] == "at" {
			at, given = d, true
		} else {
			lasting = d
		}
		k++
	}
	if !given {
		return 0, 0, nil, errors.New("it does not say when: at 20s")
	}
	return at, lasting, rest, nil
}
