// Command echo answers every request with what arrived, as JSON: the demo's application behind the proxy.
//
// Usage: echo [address]. The default address is 127.0.0.1:8080: only the sidecar of the same pod reaches it.
// It speaks HTTP/1.1 and HTTP/2 without TLS. /healthz answers "ok"; /slow?ms=N answers after N milliseconds.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	defaultAddress = "127.0.0.1:8080"
	longestDelay   = 10 * time.Minute
	drainTime      = 10 * time.Second
)

// answer is the body of every response; header names are in lower case, values in the order in which they arrived.
type answer struct {
	Method   string              `json:"method"`
	URI      string              `json:"uri"` // the request's target, unchanged
	Path     string              `json:"path"`
	Query    string              `json:"query"`
	Host     string              `json:"host"`
	Protocol string              `json:"protocol"`
	Headers  map[string][]string `json:"headers"`
}

func main() {
	address := defaultAddress
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	if err := serve(address); err != nil {
		log.Fatal(err)
	}
}

// serve answers on address until SIGTERM or SIGINT, then lets running requests end.
func serve(address string) error {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Addr: address, Handler: routes(), Protocols: protocols, ReadHeaderTimeout: time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-stop.Done():
	}
	drain, end := context.WithTimeout(context.Background(), drainTime)
	defer end()
	if err := server.Shutdown(drain); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// routes does not use http.ServeMux, which redirects unclean paths: what arrived must be shown as it arrived.
func routes() http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		switch request.URL.Path {
		case "/healthz":
			_, _ = io.WriteString(response, "ok\n")
		case "/slow":
			if !wait(request) {
				http.Error(response, "ms must be a number of milliseconds, at most ten minutes", http.StatusBadRequest)
				return
			}
			echo(response, request)
		default:
			echo(response, request)
		}
	})
}

// wait sleeps as long as the query asks, or until the client is gone; false says that the query makes no sense.
func wait(request *http.Request) bool {
	milliseconds, err := strconv.Atoi(request.URL.Query().Get("ms"))
	if err != nil || milliseconds < 0 || milliseconds > int(longestDelay/time.Millisecond) {
		return false
	}
	delay := time.Duration(milliseconds) * time.Millisecond
	select {
	case <-time.After(delay):
	case <-request.Context().Done():
	}
	return true
}

func echo(response http.ResponseWriter, request *http.Request) {
	headers := make(map[string][]string, len(request.Header))
	for name, values := range request.Header {
		headers[strings.ToLower(name)] = values
	}
	response.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(response)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(answer{
		Method:   request.Method,
		URI:      request.RequestURI,
		Path:     request.URL.EscapedPath(),
		Query:    request.URL.RawQuery,
		Host:     request.Host,
		Protocol: request.Proto,
		Headers:  headers,
	})
	if err != nil {
		log.Printf("the client left: %v", err)
	}
}
