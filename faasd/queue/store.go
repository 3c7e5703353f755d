package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"

	"github.com/dfaas/dfaas/internal/atomicfile"
)

// batchDelay is how long a call waits for others to be written with it: each writing
// is one wait for the disk.
const batchDelay = 2 * time.Millisecond

// The buckets of the file. Keys are numbers in the order in which calls were accepted.
var (
	bucketRecords = []byte("calls")
	bucketBodies  = []byte("bodies") // of calls, and then of their results; none where they are empty
)

// store is the file. What it has said is written is on the disk. It is safe for
// concurrent use.
type store struct{ db *bbolt.DB }

// openStore opens the file, which it makes if there is none.
func openStore(path string) (s *store, err error) {
	err = guard(func() error {
		s, err = open(path)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the queue %s: %w (moved away, it is made anew, without its calls)", path, err)
	}
	return s, nil
}

// guard makes an error of what the library does with a file that is damaged: it panics,
// or reads where nothing is.
func guard(f func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(before)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the file is damaged: %v", p)
		}
	}()
	return f()
}

func open(path string) (*store, error) {
	before, err := os.Stat(path)
	isNew := err != nil || before.Size() == 0
	opened := false
	defer func() {
		if !opened && isNew { // half a file would be none
			_ = os.Remove(path)
		}
	}()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		return nil, err
	}
	db.MaxBatchDelay = batchDelay
	defer func() {
		if !opened {
			db.Close()
		}
	}()
	err = prepare(db, path, isNew)
	opened = err == nil
	return &store{db}, err
}

// prepare makes the buckets of a new file. What is there already is not written to:
// the disk may be full.
func prepare(db *bbolt.DB, path string, isNew bool) error {
	if !isNew {
		return db.View(func(tx *bbolt.Tx) error {
			if tx.Bucket(bucketRecords) == nil || tx.Bucket(bucketBodies) == nil {
				return errors.New("it is another program's")
			}
			return nil
		})
	}
	err := db.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucket(bucketRecords); err != nil {
			return err
		}
		_, err := tx.CreateBucket(bucketBodies)
		return err
	})
	if err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(path)) // or a power failure would take the file with it
}

func (s *store) close() error { return s.db.Close() }

func key(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// add keeps a call and returns its number.
func (s *store) add(r *record, body []byte) (seq uint64, err error) {
	text, err := r.encode()
	if err != nil {
		return 0, err
	}
	err = s.db.Batch(func(tx *bbolt.Tx) error {
		records := tx.Bucket(bucketRecords)
		if seq, err = records.NextSequence(); err != nil {
			return err
		}
		return put(tx, seq, text, body)
	})
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrDisk, err)
	}
	return seq, nil
}

func put(tx *bbolt.Tx, seq uint64, text, body []byte) error {
	if err := tx.Bucket(bucketRecords).Put(key(seq), text); err != nil {
		return err
	}
	if len(body) == 0 {
		return tx.Bucket(bucketBodies).Delete(key(seq))
	}
	return tx.Bucket(bucketBodies).Put(key(seq), body)
}

// change replaces a record and leaves its body.
func (s *store) change(seq uint64, r *record) error {
	text, err := r.encode()
	if err != nil {
		return err
	}
	return s.db.Batch(func(tx *bbolt.Tx) error { return tx.Bucket(bucketRecords).Put(key(seq), text) })
}

// finish replaces a record and its body.
func (s *store) finish(seq uint64, r *record, body []byte) error {
	text, err := r.encode()
	if err != nil {
		return err
	}
	return s.db.Batch(func(tx *bbolt.Tx) error { return put(tx, seq, text, body) })
}

// remove forgets a call.
func (s *store) remove(seq uint64) error {
	return s.db.Batch(func(tx *bbolt.Tx) error {
		if err := tx.Bucket(bucketRecords).Delete(key(seq)); err != nil {
			return err
		}
		return tx.Bucket(bucketBodies).Delete(key(seq))
	})
}

func (s *store) view(f func(*bbolt.Tx) error) error {
	return guard(func() error { return s.db.View(f) })
}

// read returns a call with its body.
func (s *store) read(seq uint64) (r *record, body []byte, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		if r, err = decode(tx.Bucket(bucketRecords).Get(key(seq))); err != nil {
			return err
		}
		body = append(body, tx.Bucket(bucketBodies).Get(key(seq))...)
		return nil
	})
	return r, body, err
}

// each calls f for every call, in the order in which they were accepted, with the
// bytes that it takes. What cannot be read, as it is of a later release, is left
// there and counted.
func (s *store) each(f func(seq uint64, r *record, size int64)) (unread int, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		bodies := tx.Bucket(bucketBodies)
		return tx.Bucket(bucketRecords).ForEach(func(k, text []byte) error {
			r, err := decode(text)
			if err != nil || len(k) != 8 {
				unread++
				return nil
			}
			f(binary.BigEndian.Uint64(k), r, int64(len(text)+len(bodies.Get(k))))
			return nil
		})
	})
	return unread, err
}
