package control

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dfaas/dfaas/internal/pace"
	"github.com/dfaas/dfaas/internal/protocol"
	"github.com/dfaas/dfaas/spoa/route"
	"github.com/dfaas/dfaas/spoa/table"
)

// Headers of requests for tables and of their answers, as HTTP has them for changes of
// what somebody else may have changed meanwhile (RFC 9110, RFC 5789).
const (
	headerTag  = "ETag"     // which table is in use
	headerBase = "If-Match" // which table a patch is for
)

func (s *Server) putTable(w http.ResponseWriter, r *http.Request) {
	body := http.MaxBytesReader(w, r.Body, table.MaxBytes)
	t, unknown, err := table.Read(body, pace.New())
	if err != nil {
		s.refuse(w, body, err)
		return
	}
	s.whole.Add(1)
	s.taken(w, s.router.Swap(t, time.Now()), unknown)
	s.log.Debug().Uint64("version", t.Version).Int("functions", len(t.Functions)).Int("peers", len(t.Peers)).Msg("new table")
}

func (s *Server) patchTable(w http.ResponseWriter, r *http.Request) {
	base, err := s.generation(r.Header.Get(headerBase))
	if err != nil {
		http.Error(w, err.Error(), http.StatusPreconditionRequired)
		return
	}
	body := http.MaxBytesReader(w, r.Body, table.MaxBytes)
	p, unknown, err := table.ReadPatch(body, pace.New())
	if err != nil {
		s.refuse(w, body, err)
		return
	}
	changed, gone, version := len(p.Functions), len(p.FunctionsGone), p.Head.Version
	generation, err := s.router.Patch(base, p, time.Now())
	switch {
	case errors.Is(err, route.ErrOtherBase):
		s.stale.Add(1)
		s.setTag(w, s.router.Status(time.Now()).Generation)
		http.Error(w, err.Error(), http.StatusPreconditionFailed)
		return
	case err != nil:
		s.refuse(w, body, err)
		return
	}
	s.patched.Add(1)
	s.taken(w, generation, unknown)
	s.log.Debug().Uint64("version", version).Int("changed", changed).Int("gone", gone).Msg("table changed")
}

// refuse says what is wrong with a table or a patch of one, once it was sent to its end:
// who is still sending hears nothing.
func (s *Server) refuse(w http.ResponseWriter, body io.Reader, err error) {
	s.refused.Add(1)
	_, _ = io.Copy(io.Discard, body) // that it is cut short or too long is known
	status := http.StatusBadRequest
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		err, status = errors.New("the table is longer than 16 MiB"), http.StatusRequestEntityTooLarge
	}
	s.log.Warn().Err(err).Msg("table refused, the current one stays")
	http.Error(w, err.Error(), status)
}

// taken answers for a table that is in use now.
func (s *Server) taken(w http.ResponseWriter, generation uint64, unknown string) {
	s.noteUnknown(unknown)
	s.setTag(w, generation)
	w.WriteHeader(http.StatusNoContent)
}

// setTag says which table is in use: which run of this program, and how manieth table.
// Who sees a tag knows that patches are understood.
func (s *Server) setTag(w http.ResponseWriter, generation uint64) {
	if generation > 0 && !protocol.Previous {
		w.Header().Set(headerTag, s.tag(generation))
	}
}

func (s *Server) tag(generation uint64) string {
	return fmt.Sprintf(`"%x-%d"`, s.start.UnixNano(), generation)
}

// generation is that of a tag; 0, which no table has, for another run's.
func (s *Server) generation(tag string) (uint64, error) {
	if tag == "" {
		return 0, fmt.Errorf("a patch needs %s with the %s of the table that it is for", headerBase, headerTag)
	}
	_, number, _ := strings.Cut(strings.Trim(tag, `"`), "-")
	generation, err := strconv.ParseUint(number, 10, 64)
	if err != nil || s.tag(generation) != tag {
		return 0, nil
	}
	return generation, nil
}
