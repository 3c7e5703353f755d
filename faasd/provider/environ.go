package provider

import (
	"net/http"
	"strconv"
	"strings"
)

// requestEnvironment adds what the classic watchdog tells a function of its
// request: Http_Method, Http_Path, Http_Query, Http_Host, Http_Content_Length
// and Http_ContentLength, Http_Transfer_Encoding, and each header field as
// Http_ and its name with _ for -. Of a field given twice the first counts.
func requestEnvironment(env []string, r *http.Request, path string) []string {
	length := strconv.FormatInt(r.ContentLength, 10)
	env = append(env,
		"Http_Method="+r.Method,
		"Http_Host="+r.Host,
		"Http_ContentLength="+length,
		"Http_Content_Length="+length,
	)
	if path != "" {
		env = append(env, "Http_Path="+path)
	}
	if r.URL.RawQuery != "" {
		env = append(env, "Http_Query="+r.URL.RawQuery)
	}
	if len(r.TransferEncoding) > 0 {
		env = append(env, "Http_Transfer_Encoding="+strings.Join(r.TransferEncoding, ", "))
	}
	for name, values := range r.Header {
		if len(values) > 0 && name != "Content-Length" {
			env = append(env, "Http_"+strings.ReplaceAll(name, "-", "_")+"="+values[0])
		}
	}
	return env
}
