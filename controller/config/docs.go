package config

import (
	"fmt"
	"strings"
)

// Docs returns the table of all options for docs/configuration.md, in
// Markdown.
func Docs() string {
	var b strings.Builder
	b.WriteString("| key | flag | variable | default | meaning |\n| --- | --- | --- | --- | --- |\n")
	def := Default()
	for _, o := range options() {
		value := o.format(&def)
		if value == "" {
			value = "empty"
		}
		fmt.Fprintf(&b, "| `%s` | `--%s` | `%s` | `%s` | %s |\n", o.key, o.flag(), o.env(), value, strings.ReplaceAll(o.doc, "|", `\|`))
	}
	return b.String()
}
