package faasd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/dfaas/dfaas/internal/funcname"
)

// Bounds of what a gateway may answer. An answer beyond them is an error.
const (
	maxAnswer     = 16 << 20 // bytes of one answer
	maxErrorText  = 300      // bytes of an error answer that are shown
	maxFunctions  = 4096     // over all namespaces
	maxNamespaces = 128
)

// Time limits of one call.
const (
	readTimeout  = 3 * time.Second // List, Info, Healthy
	writeTimeout = 2 * time.Minute // Deploy, Update: faasd pulls the image meanwhile
)

// Options says which gateway to talk to.
type Options struct {
	// URL is the gateway's address, http(s)://HOST:PORT or HOST:PORT.
	URL string
	// User and PasswordFile are for basic auth; both empty: none. The file is
	// read once; white space around the password is removed.
	User         string
	PasswordFile string
	// Async is whether the gateway takes asynchronous calls: one of the constants
	// below, empty for AsyncAuto.
	Async string
	// DialContext makes the connections; nil: as any program here does.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client talks to one OpenFaaS gateway or provider. It is safe for concurrent
// use.
type Client struct {
	base           *url.URL
	user, password string
	http           *http.Client
	async          string
	self           atomic.Pointer[self] // nil before it was asked for
}

// Function is one deployed function.
type Function struct {
	Name   funcname.Name // NAME, or NAME.NAMESPACE outside of the default namespace
	Labels Labels        // what its labels ask of DFaaS
	Status types.FunctionStatus
	// Ready is how many replicas take calls now. Of a function with none, which is
	// scaled to zero, starts or has died, a call waits or fails. It is
	// Status.AvailableReplicas where the gateway reports that, and
	// Status.Replicas with faasd, whose list counts the tasks that run and nothing
	// else.
	Ready uint64
	// ReadyKnown reports whether Ready can be relied on. Otherwise the gateway is
	// of an unknown kind and has said of no function how many are available:
	// Ready is Status.Replicas then, and 0 says nothing.
	ReadyKnown bool
}

// List is what a gateway has deployed.
type List struct {
	Functions []Function // sorted by Name, each name once
	Async     bool       // asynchronous calls of them are taken
	// Refused says, one line each, which functions were left out and why.
	Refused []string
}

// Info is what a gateway says about itself. A bare provider leaves Version and
// Arch empty.
type Info struct {
	Provider types.ProviderInfo
	Version  types.VersionInfo // of the gateway in front of the provider
	Arch     string
	// Async is whether asynchronous calls are taken; nil where that is not said, as by
	// any gateway but dfaas-provider.
	Async *bool
}

// StatusError is an answer with a status that the call did not hope for.
type StatusError struct {
	Code int
	Text string // the beginning of the answer's body
}

// Error names the status, what the gateway said and, for 401, a hint.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("the gateway answered %d %s", e.Code, http.StatusText(e.Code))
	if e.Text != "" {
		text += ": " + e.Text
	}
	if e.Code == http.StatusUnauthorized {
		text += " (check the gateway's user and password file)"
	}
	return text
}

// New checks the options and reads the password file. It does not talk to the
// gateway yet.
func New(o Options) (*Client, error) {
	base, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	c := &Client{base: base, user: o.User, async: o.Async}
	if (o.User == "") != (o.PasswordFile == "") {
		return nil, errors.New("basic auth needs both a user and a password file, or neither")
	}
	if o.PasswordFile != "" {
		password, err := os.ReadFile(o.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("read the gateway's password: %w", err)
		}
		c.password = strings.TrimSpace(string(password))
	}
	dial := o.DialContext
	if dial == nil {
		dial = (&net.Dialer{Timeout: readTimeout}).DialContext
	}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext:           dial,
			MaxIdleConns:          4,
			MaxIdleConnsPerHost:   4,
			IdleConnTimeout:       time.Minute,
			TLSHandshakeTimeout:   readTimeout,
			ResponseHeaderTimeout: writeTimeout,
		},
		// A gateway has no reason to redirect; following would take the
		// password elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

func parseURL(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		if parse, ok := errors.AsType[*url.Error](err); ok {
			err = parse.Err // without the address, which may have a password in it
		}
		return nil, fmt.Errorf("gateway address: %w", err)
	}
	if u.User != nil {
		return nil, errors.New("gateway address: user and password have options of their own and do not belong in the URL")
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return nil, fmt.Errorf("gateway address %s: use http://HOST:PORT", quoteShort(text))
	}
	u.Path, u.RawQuery, u.Fragment = strings.TrimRight(u.Path, "/"), "", ""
	return u, nil
}

// Close drops the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// List returns all functions in all namespaces. A gateway that knows no
// namespaces has only the default one.
func (c *Client) List(ctx context.Context) (List, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	namespaces, err := c.namespaces(ctx)
	if err != nil {
		return List{}, fmt.Errorf("list the gateway's namespaces: %w", err)
	}
	collected := collector{functions: map[funcname.Name]Function{}}
	for _, namespace := range namespaces {
		var statuses []types.FunctionStatus
		if err := c.call(ctx, http.MethodGet, "/system/functions", namespace, nil, &statuses); err != nil {
			return List{}, fmt.Errorf("list the functions of namespace %s: %w", namespace, err)
		}
		if err := collected.add(namespace, statuses); err != nil {
			return List{}, err
		}
	}
	list := collected.list()
	own := c.itself(ctx)
	setReady(list.Functions, own.orchestration)
	list.Async = own.async
	return list, nil
}

// namespaces returns the gateway's namespaces, at least one.
func (c *Client) namespaces(ctx context.Context) ([]string, error) {
	var names []string
	err := c.call(ctx, http.MethodGet, "/system/namespaces", "", nil, &names)
	var status *StatusError
	if errors.As(err, &status) && (status.Code == http.StatusNotFound || status.Code == http.StatusNotImplemented ||
		status.Code == http.StatusMethodNotAllowed) {
		return []string{DefaultNamespace}, nil
	}
	if err != nil {
		return nil, err
	}
	if len(names) > maxNamespaces {
		return nil, fmt.Errorf("%d namespaces: %d at most", len(names), maxNamespaces)
	}
	for _, name := range names {
		if err := CheckLabel("namespace", name); err != nil {
			return nil, err
		}
	}
	if len(names) == 0 {
		return []string{DefaultNamespace}, nil
	}
	return names, nil
}

// collector gathers the functions of several namespaces.
type collector struct {
	functions map[funcname.Name]Function
	refused   []string
}

func (c *collector) add(namespace string, statuses []types.FunctionStatus) error {
	if len(c.functions)+len(statuses) > maxFunctions {
		return fmt.Errorf("the gateway lists more than %d functions", maxFunctions)
	}
	for _, status := range statuses {
		if status.Namespace == "" {
			status.Namespace = namespace
		}
		name, err := parseName(status.Name, status.Namespace)
		if err != nil {
			c.refused = append(c.refused, strings.ReplaceAll(err.Error(), "\n", "; "))
			continue
		}
		var labels map[string]string
		if status.Labels != nil {
			labels = *status.Labels
		}
		c.functions[name] = Function{Name: name, Labels: ParseLabels(labels), Status: status}
	}
	return nil
}

func (c *collector) list() List {
	l := List{Functions: make([]Function, 0, len(c.functions)), Refused: c.refused}
	for _, name := range slices.SortedFunc(maps.Keys(c.functions), funcname.Name.Compare) {
		l.Functions = append(l.Functions, c.functions[name])
	}
	return l
}

// Deploy deploys a new function. An empty namespace means the default one.
func (c *Client) Deploy(ctx context.Context, d types.FunctionDeployment) error {
	return c.change(ctx, "deploy", d.Service, d.Namespace, http.MethodPost, "/system/functions", d)
}

// Update replaces a function that is deployed already.
func (c *Client) Update(ctx context.Context, d types.FunctionDeployment) error {
	return c.change(ctx, "update", d.Service, d.Namespace, http.MethodPut, "/system/functions", d)
}

// Remove removes a function; name as in Function.Name.
func (c *Client) Remove(ctx context.Context, name string) error {
	function, namespace := SplitName(name, DefaultNamespace)
	return c.change(ctx, "remove", function, namespace, http.MethodDelete, "/system/functions",
		types.DeleteFunctionRequest{FunctionName: function, Namespace: namespace})
}

// change makes one call that alters something. Its error names the function.
func (c *Client) change(ctx context.Context, verb, function, namespace, method, path string, body any) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if namespace == "" {
		namespace = DefaultNamespace
	}
	err := errors.Join(CheckLabel("function name", function), CheckLabel("namespace", namespace))
	if err == nil {
		err = c.call(ctx, method, path, namespace, body, nil)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, Name(function, namespace), err)
	}
	return nil
}

// Info asks what gateway and provider this is.
func (c *Client) Info(ctx context.Context) (Info, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var answer json.RawMessage
	if err := c.call(ctx, http.MethodGet, "/system/info", "", nil, &answer); err != nil {
		return Info{}, fmt.Errorf("ask what the gateway is: %w", err)
	}
	return parseInfo(answer)
}

// parseInfo understands both shapes of /system/info: a gateway nests what its
// provider says, a bare provider says it at the top.
func parseInfo(answer []byte) (Info, error) {
	var gateway struct {
		Provider types.ProviderInfo `json:"provider"`
		Version  types.VersionInfo  `json:"version"`
		Arch     string             `json:"arch"`
		Async    *bool              `json:"async"`
	}
	if err := json.Unmarshal(answer, &gateway); err == nil {
		return Info{Provider: gateway.Provider, Version: gateway.Version, Arch: gateway.Arch, Async: gateway.Async}, nil
	}
	var provider types.ProviderInfo
	if err := json.Unmarshal(answer, &provider); err != nil {
		return Info{}, fmt.Errorf("understand what the gateway says of itself: %w", err)
	}
	return Info{Provider: provider}, nil
}

// Healthy returns nil when the gateway says that it is well.
func (c *Client) Healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if err := c.call(ctx, http.MethodGet, "/healthz", "", nil, nil); err != nil {
		return fmt.Errorf("gateway health: %w", err)
	}
	return nil
}

// call makes one request. The answer is decoded into out unless that is nil.
func (c *Client) call(ctx context.Context, method, path, namespace string, body, out any) error {
	request, err := c.request(ctx, method, path, namespace, body)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return plainError(ctx, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("read the gateway's answer: %w", plainError(ctx, err))
	case response.StatusCode < 200 || response.StatusCode > 299:
		return &StatusError{Code: response.StatusCode, Text: firstLine(answer)}
	case len(answer) > maxAnswer:
		return fmt.Errorf("the gateway's answer is longer than %d bytes", maxAnswer)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s does not answer as an OpenFaaS gateway (got %s): %w", c.base.Host, quoteShort(string(answer)), err)
	}
	return nil
}

func (c *Client) request(ctx context.Context, method, path, namespace string, body any) (*http.Request, error) {
	address := c.base.String() + path
	if namespace != "" {
		address += "?namespace=" + url.QueryEscape(namespace)
	}
	var reader io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		reader = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, address, reader)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.user != "" {
		request.SetBasicAuth(c.user, c.password)
	}
	return request, nil
}

// plainError says in a few words why no answer came.
func plainError(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return fmt.Errorf("the gateway did not answer in time: %w", context.DeadlineExceeded)
	}
	return err
}

func firstLine(answer []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(answer)), "\n")
	if len(line) > maxErrorText {
		line = line[:maxErrorText] + "..."
	}
	return strings.ToValidUTF8(line, "?")
}
