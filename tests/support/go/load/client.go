package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	timeout = 10 * time.Second
	// A client that fell behind catches up, but by no more than this: what it measures is a steady rate.
	mostBehind = time.Second
)

// lane is one of the ways in which a client asks: one connection at a time, opened anew after some turns.
type lane struct {
	address string
	http2   bool
	turns   int     // of each connection
	streams int     // requests at the same time in each turn but the first
	rate    float64 // requests per second
}

// lanes spreads a rate: to every address, over both protocols, a fifth of it on connections for one request alone.
func lanes(addresses []string, rate float64) []lane {
	var found []lane
	share := rate / float64(len(addresses))
	for _, address := range addresses {
		found = append(found,
			lane{address, false, 50, 1, share * 0.4},
			lane{address, true, 15, 4, share * 0.4},
			lane{address, false, 1, 1, share * 0.1},
			lane{address, true, 1, 1, share * 0.1},
		)
	}
	return found
}

// client is everything that asks with one certificate.
type client struct {
	told     order
	identity []tls.Certificate
	counted  *book
	ending   chan struct{}
	lanes    sync.WaitGroup
}

func start(told order, identity []tls.Certificate, counted *book) *client {
	c := &client{told: told, identity: identity, counted: counted, ending: make(chan struct{})}
	for _, way := range lanes(told.Addresses, told.Rate) {
		c.lanes.Add(1)
		go func() {
			defer c.lanes.Done()
			c.run(way)
		}()
	}
	return c
}

// stop lets every request under way be answered.
func (c *client) stop() {
	close(c.ending)
	c.lanes.Wait()
}

func (c *client) run(way lane) {
	due := time.Now()
	for {
		connection := c.open(way)
		for turn := range way.turns {
			// The first request opens the connection: the others of an HTTP/2 connection share it.
			count := 1
			if turn > 0 {
				count = way.streams
			}
			due = due.Add(time.Duration(float64(count) / way.rate * float64(time.Second)))
			if earliest := time.Now().Add(-mostBehind); due.Before(earliest) {
				due = earliest
			}
			select {
			case <-c.ending:
				connection.CloseIdleConnections()
				return
			case <-time.After(time.Until(due)):
			}
			c.ask(connection, way, count)
		}
		connection.CloseIdleConnections()
	}
}

func (c *client) ask(connection *http.Transport, way lane, count int) {
	var asked sync.WaitGroup
	for range count {
		asked.Add(1)
		go func() {
			defer asked.Done()
			phase := c.counted.phase()
			status, err := c.get(connection, way)
			c.counted.answered(c.told.Name, phase, status, err)
		}()
	}
	asked.Wait()
}

func (c *client) get(connection *http.Transport, way lane) (int, error) {
	limited, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, http.MethodGet, "https://"+c.told.Server+c.told.Target, nil)
	if err != nil {
		return 0, err
	}
	answer, err := connection.RoundTrip(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return 0, err
	}
	if answer.ProtoMajor == 2 != way.http2 {
		return 0, fmt.Errorf("answered over %s", answer.Proto)
	}
	return answer.StatusCode, nil
}

var errEnded = errors.New("the connection ended, and a request was to be sent again on another one")

// open returns what makes one connection, with the first request, and never a second one.
//
// Go would ask again, on a new connection, when one that was kept has ended: a lost request would not be seen.
func (c *client) open(way lane) *http.Transport {
	var dialled atomic.Bool
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!way.http2)
	protocols.SetHTTP2(way.http2)
	return &http.Transport{
		DialContext: func(limited context.Context, network, _ string) (net.Conn, error) {
			if dialled.Swap(true) {
				return nil, errEnded
			}
			c.counted.connected(c.told.Name, c.counted.phase())
			return new(net.Dialer).DialContext(limited, network, way.address)
		},
		TLSClientConfig: &tls.Config{
			ServerName:         c.told.Server,
			InsecureSkipVerify: true, // the tests ask what the server makes of the client's certificate
			// A callback: a certificate is sent whatever names of CAs the server tells.
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if len(c.identity) == 0 {
					return new(tls.Certificate), nil
				}
				return &c.identity[0], nil
			},
		},
		Protocols:          protocols,
		DisableCompression: true,
	}
}
