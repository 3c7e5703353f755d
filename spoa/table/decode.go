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
func Decode(data []byte) (t Valid, unknown string, err error) {
	if len(data) > MaxBytes {
		return Valid{}, "", fmt.Errorf("table of %d bytes: at most %d are accepted", len(data), MaxBytes)
	}
	var d document
	if unknown, err = strictjson.Lenient(data, &d); err != nil {
		return Valid{}, "", fmt.Errorf("decode table: %w", err)
	}
	if unknown != "" && protocol.Previous {
		return Valid{}, "", fmt.Errorf("decode table: unknown field %q", unknown)
	}
	if t, err = d.table().Validate(Limits{}); err == nil {
		err = d.validateInbound(t.Limits)
	}
	if err != nil {
		return Valid{}, "", err
	}
	return t, unknown, nil
}
