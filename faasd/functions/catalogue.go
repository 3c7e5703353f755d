// Package functions is the catalogue of the embedded provider: which local
// command stands in for a well-known OpenFaaS image.
package functions

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

//go:embed catalogue.json
var catalogueJSON []byte

// Entry is one function of the catalogue.
type Entry struct {
	Name  string `json:"name"`
	About string `json:"about"`
	// Images are the repository names, without registry, owner and tag, that
	// the entry stands in for.
	Images []string `json:"images"`
	// Command is what runs, split at blanks.
	Command string `json:"command"`
	// Others are the commands that envProcess may choose instead.
	Others []string `json:"others"`
	// Mode is how the commands meet their requests, the provider's own default
	// if empty. A command that serves HTTP can do nothing else.
	Mode string `json:"mode"`
	// Package is the Debian package that brings the command.
	Package string `json:"package"`
}

// Allows reports whether the entry may run command.
func (e *Entry) Allows(command string) bool {
	return command == e.Command || slices.Contains(e.Others, command)
}

// Catalogue finds entries by image. It is immutable.
type Catalogue struct {
	entries []Entry
	byImage map[string]*Entry
}

// Load reads the catalogue that is built into the program.
func Load() (*Catalogue, error) { return parse(catalogueJSON) }

func parse(text []byte) (*Catalogue, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	c := &Catalogue{byImage: map[string]*Entry{}}
	if err := decoder.Decode(&c.entries); err != nil {
		return nil, fmt.Errorf("read the function catalogue: %w", err)
	}
	for i := range c.entries {
		entry := &c.entries[i]
		if entry.Name == "" || entry.Command == "" || len(entry.Images) == 0 {
			return nil, fmt.Errorf("function catalogue: entry %d (%q) needs a name, a command and images", i, entry.Name)
		}
		for _, image := range entry.Images {
			if c.byImage[image] != nil {
				return nil, fmt.Errorf("function catalogue: image %q is there twice", image)
			}
			c.byImage[image] = entry
		}
	}
	return c, nil
}

// Entries lists the catalogue. The caller must not change it.
func (c *Catalogue) Entries() []Entry { return c.entries }

// Find returns the entry that stands in for an image, nil if there is none.
// ghcr.io/openfaas/figlet:latest, openfaas/figlet and figlet are all the same.
func (c *Catalogue) Find(image string) *Entry { return c.byImage[repository(image)] }

// repository cuts registry, owner, tag and digest off an image reference.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	image = image[strings.LastIndexByte(image, '/')+1:]
	image, _, _ = strings.Cut(image, ":")
	return image
}
