package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"
)

func get(t *testing.T, target string, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequest(http.MethodGet, target, nil)
	request.Header = header
	recorder := httptest.NewRecorder()
	routes().ServeHTTP(recorder, request)
	return recorder
}

func TestShowsWhatArrivedWithHeaderNamesInLowerCase(t *testing.T) {
	recorder := get(t, "http://api.example.com//admin/%2e?q=1", http.Header{"X-One": {"a", "b"}})
	var got answer
	if err := json.Unmarshal(recorder.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := answer{
		Method: "GET", URI: "http://api.example.com//admin/%2e?q=1", Path: "//admin/%2e", Query: "q=1",
		Host: "api.example.com", Protocol: "HTTP/1.1", Headers: map[string][]string{"x-one": {"a", "b"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestHealthIsPlainText(t *testing.T) {
	if body := get(t, "/healthz", nil).Body.String(); body != "ok\n" {
		t.Errorf("got %q", body)
	}
}

func TestSlowWaitsAsLongAsItIsTold(t *testing.T) {
	started := time.Now()
	if code := get(t, "/slow?ms=30", nil).Code; code != http.StatusOK {
		t.Errorf("got status %d", code)
	}
	if waited := time.Since(started); waited < 30*time.Millisecond {
		t.Errorf("answered after %v", waited)
	}
}

func TestSlowRefusesWhatIsNoSensibleTime(t *testing.T) {
	for _, query := range []string{"", "?ms=", "?ms=-1", "?ms=x", "?ms=600001", "?ms=9223372036854775807"} {
		if code := get(t, "/slow"+query, nil).Code; code != http.StatusBadRequest {
			t.Errorf("%q: got status %d", query, code)
		}
	}
}
