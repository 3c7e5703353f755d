package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/dfaas/dfaas/spoa/grant"
)

const pathUnasked = "/v1/unasked"

// ErrOlder is what Unasked returns when the SPOA is of a release that knows nothing of
// calls that it is not asked about.
var ErrOlder = errors.New("dfaas-spoa is of an older release, which has to be asked about every call: upgrade it, and restart it")

// Unasked tells the SPOA what HAProxy has served without a question, and returns what it
// may serve so from now on. The error wraps ErrOlder if the SPOA does not know of it.
func (c *Client) Unasked(ctx context.Context, report grant.Report) (grant.Grants, error) {
	body, err := json.Marshal(report)
	if err != nil {
		return grant.Grants{}, fmt.Errorf("HAProxy's counters for the SPOA: %w", err)
	}
	resp, err := c.do(ctx, http.MethodPost, pathUnasked, "", body)
	if err != nil {
		return grant.Grants{}, err
	}
	defer drain(resp)
	if err := refusal(pathUnasked, resp); err != nil {
		return grant.Grants{}, err
	}
	var g grant.Grants
	err = c.decode(pathUnasked, resp, &g)
	return g, err
}

func (s *Server) postUnasked(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, grant.MaxBytes))
	var report grant.Report
	if err == nil {
		report, err = grant.Decode(body)
	}
	if err != nil {
		s.log.Warn().Err(err).Msg("counters of HAProxy refused, every call is asked about")
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer(w, s.router.Unasked(time.Now(), report))
}
