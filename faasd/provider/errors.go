package provider

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// apiError is an error with the HTTP status that answers it.
type apiError struct {
	code int
	text string
}

// Error is the text that the client is told.
func (e *apiError) Error() string { return e.text }

func badRequest(format string, args ...any) error {
	return &apiError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) error {
	return &apiError{http.StatusNotFound, fmt.Sprintf(format, args...)}
}

func conflict(format string, args ...any) error {
	return &apiError{http.StatusConflict, fmt.Sprintf(format, args...)}
}

// statusOf is the HTTP status that answers err.
func statusOf(err error) int {
	var api *apiError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &api):
		return api.code
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case diskFull(err):
		return http.StatusInsufficientStorage
	}
	return http.StatusInternalServerError
}

// answerError answers with err as one line of text.
func answerError(w http.ResponseWriter, err error) {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	if diskFull(err) {
		text += " (nothing was changed: make room on the disk and try again)"
	}
	http.Error(w, text, statusOf(err))
}
