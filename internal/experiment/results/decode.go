package results

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// MaxRecord is how many bytes one result may have, with the answer's body.
const MaxRecord = 64 << 20

// encoding is one of vegeta's.
type encoding string

const (
	encodingJSON encoding = "JSON"
	encodingCSV  encoding = "CSV"
	encodingGob  encoding = "gob"
)

// decoder reads one result after the other.
type decoder struct {
	in       *input
	buffer   *bufio.Reader
	encoding encoding
	decode   vegeta.Decoder
	records  int // read so far
}

// newDecoder tells the encoding by the first byte. (vegeta.DecoderFor would keep all
// that a wrong decoder reads.)
func newDecoder(r io.Reader) (*decoder, error) {
	d := &decoder{in: &input{r: r, left: MaxRecord}}
	d.buffer = bufio.NewReaderSize(d.in, 64<<10) // which all decoders use as theirs
	first, err := d.buffer.Peek(1)
	if errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty")
	} else if err != nil {
		return nil, err
	}
	switch {
	case first[0] == '{':
		d.encoding, d.decode, d.in.lines = encodingJSON, vegeta.NewJSONDecoder(d.buffer), true
	case first[0] >= '0' && first[0] <= '9':
		d.encoding, d.decode = encodingCSV, vegeta.NewCSVDecoder(d.buffer)
	default:
		d.encoding, d.decode = encodingGob, vegeta.NewDecoder(d.buffer)
	}
	return d, nil
}

// next returns io.EOF behind the last result. Any other error tells the place.
func (d *decoder) next(r *vegeta.Result) error {
	if _, err := d.buffer.Peek(1); errors.Is(err, io.EOF) {
		return io.EOF
	}
	d.in.left = MaxRecord
	*r = vegeta.Result{}
	err := d.decode(r)
	// The decoders also say EOF of a record that is cut off.
	if errors.Is(err, io.EOF) && d.encoding == encodingCSV && r.Timestamp.IsZero() {
		return io.EOF // empty lines at the end
	}
	d.records++
	var malformed *csv.ParseError
	switch {
	case err == nil:
		return nil
	case d.records == 1 && d.encoding == encodingGob:
		return d.refuse("not as vegeta writes results, in JSON, CSV or gob: %v", err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return d.refuse("the record is cut off")
	case errors.As(err, &malformed) && errors.Is(err, csv.ErrFieldCount):
		return d.refuse("vegeta writes 12 columns, this record has others")
	case d.records == 1:
		return d.refuse("not as vegeta writes results: %v", err)
	}
	return d.refuse("%v", err)
}

// refuse is an error in the record that was read last.
func (d *decoder) refuse(format string, args ...any) error {
	return fmt.Errorf("record %d (%s): %s", d.records, d.encoding, fmt.Sprintf(format, args...))
}

// input counts what is read, and bounds what one record may have.
type input struct {
	r     io.Reader
	read  int64
	left  int64 // of this record
	lines bool  // the last line ends, whether or not the file says so
	last  byte
}

var errLarge = fmt.Errorf("it has more than %d bytes", MaxRecord)

func (in *input) Read(p []byte) (int, error) {
	if in.left <= 0 {
		return 0, errLarge
	}
	n, err := in.r.Read(p[:min(int64(len(p)), in.left)])
	if n > 0 {
		in.last = p[n-1]
	} else if errors.Is(err, io.EOF) && in.lines && in.last != '\n' && len(p) > 0 {
		p[0], in.last = '\n', '\n'
		return 1, nil
	}
	in.read += int64(n)
	in.left -= int64(n)
	return n, err
}
