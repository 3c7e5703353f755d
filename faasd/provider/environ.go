package provider

import (
	"net"
	"net/http"
	"strconv"
	"strings"
)

// ownVariables are the variables that requestEnvironment sets itself, or leaves
// unset, as normalized by variableKey. Http_Proxy is one that it never sets:
// programs take it for the proxy of their own requests.
var ownVariables = map[string]bool{
	"http_method": true, "http_path": true, "http_query": true, "http_host": true, "http_content_length": true,
	"http_contentlength": true, "http_transfer_encoding": true, "http_x_forwarded_for": true, "http_proxy": true,
}

// requestEnvironment adds what the classic watchdog tells a function of its
// request: Http_Method, Http_Path, Http_Query, Http_Host, Http_Content_Length
// and Http_ContentLength, Http_Transfer_Encoding, and each header field as
// Http_ and its name with _ for -. Of a field given twice the first counts, and
// no field counts for a variable that the provider or the deployment sets.
func (s *spec) requestEnvironment(env []string, r *http.Request, path string) []string {
	length := strconv.FormatInt(r.ContentLength, 10)
	if path == "" {
		path = "/"
	}
	env = append(env,
		"Http_Method="+r.Method,
		"Http_Host="+r.Host,
		"Http_ContentLength="+length,
		"Http_Content_Length="+length,
		"Http_Path="+path,
	)
	if r.URL.RawQuery != "" {
		env = append(env, "Http_Query="+r.URL.RawQuery)
	}
	if len(r.TransferEncoding) > 0 {
		env = append(env, "Http_Transfer_Encoding="+strings.Join(r.TransferEncoding, ", "))
	}
	if from := forwardedFor(r); from != "" {
		env = append(env, "Http_X_Forwarded_For="+from)
	}
	for name, values := range r.Header {
		if len(values) == 0 || !plainFieldName(name) {
			continue
		}
		variable := "Http_" + strings.ReplaceAll(name, "-", "_")
		if key := variableKey(variable); !ownVariables[key] && !s.variables[key] {
			env = append(env, variable+"="+values[0])
		}
	}
	return env
}

// plainFieldName reports whether a header field may become a variable. A name
// with an underscore may not, or X_User would be taken for X-User, which a proxy
// in front of the function may vouch for; nor one with a character that a
// variable cannot have.
func plainFieldName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c != '-' && (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// variableKey is what two variables have in common that a program may take for
// the same.
func variableKey(name string) string { return strings.ToLower(name) }

// forwardedFor is the request's X-Forwarded-For as one list: what came with it,
// in all of its fields, and then the address that it came from. Only the end of
// the list, which this node's own proxies wrote, can be relied on.
func forwardedFor(r *http.Request) string {
	var hops []string
	for _, field := range r.Header["X-Forwarded-For"] {
		for hop := range strings.SplitSeq(field, ",") {
			if hop = strings.Trim(hop, " \t"); hop != "" {
				hops = append(hops, hop)
			}
		}
	}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		hops = append(hops, host)
	}
	return strings.Join(hops, ", ")
}
