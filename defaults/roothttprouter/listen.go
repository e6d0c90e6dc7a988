package roothttprouter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"

	"github.com/flytower/flytower/core"
)

// DefaultPort is the port that the server listens on unless backend.listen
// says otherwise.
const DefaultPort = 7007

const listenKey = "backend.listen"

// address is where to listen. An empty host is all interfaces.
type address struct {
	host string
	port int
}

func (a address) String() string { return net.JoinHostPort(a.host, strconv.Itoa(a.port)) }

// parseListen reads backend.listen: a port, "host:port", ":port", or an
// object with host and port.
func parseListen(c core.Config) (address, error) {
	v, ok := c.Value(listenKey)
	if !ok {
		return address{port: DefaultPort}, nil
	}
	var a address
	var err error
	key := listenKey
	switch v := v.(type) {
	case float64:
		a.port, err = portNumber(strconv.FormatFloat(v, 'f', -1, 64))
	case string:
		a, err = parseAddress(v)
	case map[string]any:
		a.port = DefaultPort
		if a.host, err = c.StringOr(listenKey+".host", ""); err != nil {
			return a, err
		}
		if port, has := v["port"]; has && port != nil {
			key = listenKey + ".port"
			switch port := port.(type) {
			case float64:
				a.port, err = portNumber(strconv.FormatFloat(port, 'f', -1, 64))
			case string:
				a.port, err = portNumber(port)
			default:
				err = errors.New("must be a number")
			}
		}
	default:
		err = errors.New("must be a port, host:port, or an object with host and port")
	}
	if err != nil {
		return a, &core.ConfigError{
			Key: c.Path(key), Position: c.Position(key), Problem: err.Error(),
			Remedy: `for example 7007, ":7007" or {host: 127.0.0.1, port: 7007}`,
		}
	}
	return a, nil
}

// parseAddress reads "7007", "host:7007", ":7007" or "[::1]:7007".
func parseAddress(text string) (address, error) {
	text = strings.TrimSpace(text)
	if !strings.Contains(text, ":") {
		port, err := portNumber(text)
		return address{port: port}, err
	}
	if strings.Count(text, ":") > 1 && !strings.HasPrefix(text, "[") {
		return address{}, fmt.Errorf("is %q, which has more than one colon; put an IPv6 address in brackets", text)
	}
	host, portText, err := net.SplitHostPort(text)
	if err != nil {
		return address{}, fmt.Errorf("is %q, which is not host:port", text)
	}
	if strings.ContainsAny(host, "/ \t[]") {
		return address{}, fmt.Errorf("has the host %q, which is no host name or address", host)
	}
	port, err := portNumber(portText)
	return address{host, port}, err
}

func portNumber(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("has the port %q, which is no number from 0 to 65535", text)
	}
	return int(n), nil
}

// listen opens the port, or tells in one line why not.
func listen(ctx context.Context, c core.Config, a address) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", a.String())
	if err == nil {
		return l, nil
	}
	key := listenKey
	if c.Has(listenKey + ".port") {
		key += ".port"
	}
	e := &core.ConfigError{Key: c.Path(key), Position: c.Position(key), Err: err}
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		e.Problem = fmt.Sprintf("asks for %s, which another process uses", a)
		e.Remedy = "stop that process or choose another port"
	case errors.Is(err, syscall.EACCES):
		e.Problem = fmt.Sprintf("asks for %s, which this process may not use", a)
		e.Remedy = "choose a port above 1023"
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.As(err, &dns):
		if c.Has(listenKey + ".host") {
			e.Key, e.Position = c.Path(listenKey+".host"), c.Position(listenKey+".host")
		}
		e.Problem = fmt.Sprintf("asks for %s, which is no address of this machine", a)
		e.Remedy = "leave the host out to listen on all addresses"
	default:
		e.Problem = fmt.Sprintf("asks for %s: %v", a, err)
	}
	return nil, e
}
