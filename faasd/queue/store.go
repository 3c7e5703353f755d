package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/dfaas/dfaas/internal/atomicfile"
)

// The buckets of the file. Keys are numbers in the order in which calls were accepted.
var (
	bucketRecords = []byte("calls")
	bucketBodies  = []byte("bodies") // of calls, and then of their results; none where they are empty
)

// store is the file. What it has said is written is on the disk. It is safe for
// concurrent use.
type store struct {
	path string
	db   *bbolt.DB

	mu      sync.Mutex
	waiting []*change

	turn    sync.Mutex // held by who writes
	damaged error      // why nothing is written any more; guarded by turn
}

// change is something to be written. It is guarded by store.turn once it waits.
type change struct {
	f    func(*bbolt.Tx) error
	done bool
	err  error
}

// anew says how to go on without the calls in a file.
const anew = "moved away, it is made anew, without its calls, when the provider starts"

// errDamaged is what guard makes of a panic.
var errDamaged = errors.New("the file is damaged")

// openStore opens the file, which it makes if there is none.
func openStore(path string) (s *store, err error) {
	err = guard(func() error {
		s, err = open(path)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the queue %s: %w (%s)", path, err, anew)
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
			err = fmt.Errorf("%w: %v", errDamaged, p)
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
	defer func() {
		if !opened {
			db.Close()
		}
	}()
	err = prepare(db, path, isNew)
	opened = err == nil
	return &store{path: path, db: db}, err
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

// close closes the file. One that is damaged the library may hold locked: it stays open.
func (s *store) close() error {
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.damaged != nil {
		return s.damaged
	}
	return guard(s.db.Close)
}

// write makes a change. Who has to wait for his turn is written together with all others
// who wait: each writing is one wait for the disk. (The library's own Batch does the same
// in a goroutine where a damaged file ends the program.)
func (s *store) write(f func(*bbolt.Tx) error) error {
	c := &change{f: f}
	s.mu.Lock()
	s.waiting = append(s.waiting, c)
	s.mu.Unlock()
	s.turn.Lock()
	defer s.turn.Unlock()
	if !c.done {
		s.mu.Lock()
		group := s.waiting
		s.waiting = nil
		s.mu.Unlock()
		s.commit(group)
	}
	return c.err
}

// commit writes the changes of a group, each by itself if together they cannot be. The
// caller has the turn.
func (s *store) commit(group []*change) {
	err := s.update(func(tx *bbolt.Tx) error {
		for _, c := range group {
			if err := c.f(tx); err != nil {
				return err
			}
		}
		return nil
	})
	for _, c := range group {
		c.done, c.err = true, err
		if err != nil && len(group) > 1 {
			c.err = s.update(c.f)
		}
	}
}

// update writes, unless the file has turned out to be damaged: then nobody knows what the
// library has left half done, or locked.
func (s *store) update(f func(*bbolt.Tx) error) error {
	if s.damaged != nil {
		return s.damaged
	}
	err := guard(func() error { return s.db.Update(f) })
	if errors.Is(err, errDamaged) {
		err = fmt.Errorf("write the queue %s: %w (%s)", s.path, err, anew)
		s.damaged = err
	}
	return err
}

func key(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// add keeps a call and returns its number.
func (s *store) add(r *record, body []byte) (seq uint64, err error) {
	text, err := r.encode()
	if err != nil {
		return 0, err
	}
	err = s.write(func(tx *bbolt.Tx) error {
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
	return s.write(func(tx *bbolt.Tx) error { return tx.Bucket(bucketRecords).Put(key(seq), text) })
}

// finish replaces a record and its body.
func (s *store) finish(seq uint64, r *record, body []byte) error {
	text, err := r.encode()
	if err != nil {
		return err
	}
	return s.write(func(tx *bbolt.Tx) error { return put(tx, seq, text, body) })
}

// remove forgets a call.
func (s *store) remove(seq uint64) error {
	return s.write(func(tx *bbolt.Tx) error {
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
