package table

import (
	"fmt"

	"github.com/dfaas/dfaas/internal/protocol"
	"github.com/dfaas/dfaas/internal/strictjson"
)

// Decode reads a table from its JSON form and validates it. It refuses
// documents over MaxBytes, fields given twice, data after the document, and
// tables of a version that it does not understand; the error says what is wrong
// and where. Fields that it does not know are ignored, as a newer controller may
// send them: unknown is the first of them, "" if there is none.
func Decode(data []byte) (t *Table, unknown string, err error) {
	if len(data) > MaxBytes {
		return nil, "", fmt.Errorf("table of %d bytes: at most %d are accepted", len(data), MaxBytes)
	}
	t = new(Table)
	if unknown, err = strictjson.Lenient(data, t); err != nil {
		return nil, "", fmt.Errorf("decode table: %w", err)
	}
	if unknown != "" && protocol.Previous {
		return nil, "", fmt.Errorf("decode table: unknown field %q", unknown)
	}
	if err := t.Validate(); err != nil {
		return nil, "", err
	}
	return t, unknown, nil
}
