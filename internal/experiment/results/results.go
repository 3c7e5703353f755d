// Package results reads the results of an attack as vegeta writes them, in any of its
// encodings, and keeps what can be drawn of them, in memory that does not grow with
// their number.
package results

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// Unknown is the node of what was served by one that did not say who it is.
const Unknown = "unknown"

// NodeHeader is the header of answers that names the node which executed the function.
const NodeHeader = "Dfaas-Node-Id"

// batch is how many results are looked at before it is decided when time begins:
// vegeta writes them in the order of the answers.
const batch = 1 << 16

// ReadFile reads the results in the file of that path. progress, unless nil, is told
// now and then which part of the file has been read. An error names the file, the record
// and the reason.
func ReadFile(ctx context.Context, path string, progress func(done float64)) (*Course, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading results: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading results: %w", err)
	}
	if info.IsDir() {
		return nil, fmt.Errorf("reading results: %s is a directory: name the files in it", path)
	}
	return Read(ctx, path, file, func(read int64) {
		if progress != nil && info.Size() > 0 {
			progress(min(1, float64(read)/float64(info.Size())))
		}
	})
}

// Read reads the results of that name. progress is told how many bytes have been read.
// It ends early only with the context.
func Read(ctx context.Context, name string, r io.Reader, progress func(read int64)) (*Course, error) {
	c := &Course{Name: name}
	d, err := newDecoder(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	samples := make([]sample, 0, 1024)
	var first vegeta.Result
	for {
		var result vegeta.Result
		if err := d.next(&result); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if d.records == 1 {
			first.Timestamp = result.Timestamp
		}
		if err := check(&result, &first); err != nil {
			return nil, fmt.Errorf("%s: %w", name, d.refuse("%v", err))
		}
		samples = append(samples, sample{result.Timestamp, result.Latency, result.Code, printable(result.Headers.Get(NodeHeader))})
		if len(samples) == batch {
			c.add(samples)
			samples = samples[:0]
		}
		if d.records%1024 == 0 {
			if err := ctx.Err(); err != nil {
				return nil, fmt.Errorf("reading %s: %w", name, err)
			}
			progress(d.in.read)
		}
	}
	c.add(samples)
	if c.Total.Sent == 0 {
		return nil, fmt.Errorf("%s: it holds no results", name)
	}
	c.close()
	return c, nil
}

func check(r, first *vegeta.Result) error {
	switch apart := r.Timestamp.Sub(first.Timestamp); {
	case r.Timestamp.IsZero():
		return errors.New("it has no timestamp: is it a result of vegeta's?")
	case apart > MaxSpan || apart < -MaxSpan:
		return fmt.Errorf("it was sent at %s, and record 1 at %s: more than %d days apart", r.Timestamp, first.Timestamp, MaxSpan/24/3600e9)
	case r.Latency < 0:
		return fmt.Errorf("its latency is %s", r.Latency)
	}
	return nil
}
