// Command load sends requests as several clients at a steady rate and counts what each of them is answered, by phase.
//
// It reads one JSON object per line from standard input and answers each with one on standard output; it ends with
// its input. A phase is what its caller calls one: a request counts for the phase in which it was sent.
package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

type order struct {
	Do   string // "start", "phase", "stop", "report"
	Name string // of the client or of the phase

	// What follows is for "start".
	Chain     string // PEM, the leaf first; empty: no certificate
	Key       string // PEM
	Addresses []string
	Server    string // server name, and the host of the requests
	Target    string
	Rate      float64 // requests per second in sum
}

// tally counts the answers of one client in one phase.
type tally struct {
	Answers     map[int]int // by status; 0: no answer
	Connections int         // opened
}

type phase struct {
	Name    string
	Seconds float64
}

type report struct {
	Error    string
	Phases   []phase
	Clients  map[string]map[string]*tally // by client and phase
	Failures map[string][]string          // by client: the first few reasons for no answer
}

const failuresKept = 5

// book is what has been counted so far.
type book struct {
	lock     sync.Mutex
	phases   []phase
	began    time.Time // of the present phase
	clients  map[string]map[string]*tally
	failures map[string][]string
}

func newBook() *book {
	return &book{
		phases:   []phase{{Name: "start"}},
		began:    time.Now(),
		clients:  map[string]map[string]*tally{},
		failures: map[string][]string{},
	}
}

func (b *book) phase() string {
	b.lock.Lock()
	defer b.lock.Unlock()
	return b.phases[len(b.phases)-1].Name
}

func (b *book) turn(name string) {
	b.lock.Lock()
	defer b.lock.Unlock()
	now := time.Now()
	b.phases[len(b.phases)-1].Seconds = now.Sub(b.began).Seconds()
	b.phases, b.began = append(b.phases, phase{Name: name}), now
}

func (b *book) of(client, phase string) *tally {
	if b.clients[client] == nil {
		b.clients[client] = map[string]*tally{}
	}
	if b.clients[client][phase] == nil {
		b.clients[client][phase] = &tally{Answers: map[int]int{}}
	}
	return b.clients[client][phase]
}

func (b *book) answered(client, phase string, status int, err error) {
	b.lock.Lock()
	defer b.lock.Unlock()
	b.of(client, phase).Answers[status]++
	if err != nil && len(b.failures[client]) < failuresKept {
		b.failures[client] = append(b.failures[client], fmt.Sprintf("%s: %v", phase, err))
	}
}

func (b *book) connected(client, phase string) {
	b.lock.Lock()
	defer b.lock.Unlock()
	b.of(client, phase).Connections++
}

// write encodes everything under the lock: the counters go on.
func (b *book) write(to *json.Encoder) error {
	b.lock.Lock()
	defer b.lock.Unlock()
	phases := slices.Clone(b.phases)
	phases[len(phases)-1].Seconds = time.Since(b.began).Seconds()
	return to.Encode(report{Phases: phases, Clients: b.clients, Failures: b.failures})
}

func main() {
	orders := bufio.NewScanner(os.Stdin)
	orders.Buffer(nil, 1<<20)
	answers := json.NewEncoder(os.Stdout)
	counted, running := newBook(), map[string]*client{}
	for orders.Scan() {
		var told order
		err := json.Unmarshal(orders.Bytes(), &told)
		if err == nil {
			err = follow(told, counted, running)
		}
		if err != nil {
			err = answers.Encode(report{Error: err.Error()})
		} else {
			err = counted.write(answers)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
}

func follow(told order, counted *book, running map[string]*client) error {
	switch told.Do {
	case "start":
		if running[told.Name] != nil {
			return fmt.Errorf("%q runs already", told.Name)
		}
		var identity []tls.Certificate
		if told.Chain != "" {
			pair, err := tls.X509KeyPair([]byte(told.Chain), []byte(told.Key))
			if err != nil {
				return err
			}
			identity = append(identity, pair)
		}
		running[told.Name] = start(told, identity, counted)
	case "phase":
		counted.turn(told.Name)
	case "stop":
		if running[told.Name] == nil {
			return fmt.Errorf("%q does not run", told.Name)
		}
		running[told.Name].stop()
		delete(running, told.Name)
	case "report":
	default:
		return fmt.Errorf("unknown order %q", told.Do)
	}
	return nil
}
