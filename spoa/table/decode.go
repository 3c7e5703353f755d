package table

import (
	"fmt"

	"github.com/dfaas/dfaas/internal/strictjson"
)

// Decode reads a table from its JSON form and validates it. It refuses
// documents over MaxBytes, unknown fields, fields given twice and data after
// the document; the error says what is wrong and where.
func Decode(data []byte) (*Table, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("table of %d bytes: at most %d are accepted", len(data), MaxBytes)
	}
	t := new(Table)
	if err := strictjson.Unmarshal(data, t); err != nil {
		return nil, fmt.Errorf("decode table: %w", err)
	}
	if err := t.Validate(); err != nil {
		return nil, err
	}
	return t, nil
}
