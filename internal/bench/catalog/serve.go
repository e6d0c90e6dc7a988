//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/flytower/flytower"
	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/defaults/rootconfig"
	"github.com/flytower/flytower/internal/bench/catalog/shape"
	catalogbackend "github.com/flytower/flytower/plugins/catalog-backend"
	catalogmodulescaffolderentitymodel "github.com/flytower/flytower/plugins/catalog-backend-module-scaffolder-entity-model"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// serveCommand is the first argument with which the program is the backend.
const serveCommand = "serve"

// serve runs a backend with the catalog and a provider that a control port
// works. It ends with its standard input.
func serve(args []string) error {
	f := flag.NewFlagSet(serveCommand, flag.ContinueOnError)
	config := f.String("config", "", "configuration file")
	control := f.String("control", "", "address of the control port")
	if err := f.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the one who started us ends
		cancel()
	}()
	p := &provider{}
	listener, err := net.Listen("tcp", *control)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: p.handler(), ReadHeaderTimeout: 10 * time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) }) // it ends with Close
	b := flytower.New(flytower.WithConfig(rootconfig.Options{Args: []string{}, ConfigFiles: []string{*config}}))
	b.Add(catalogbackend.Plugin, catalogmodulescaffolderentitymodel.Module, p.module())
	err = b.Run(ctx)
	err = errors.Join(err, server.Close())
	serving.Wait()
	return err
}

// provider hands a synthetic catalog in when it is told to.
type provider struct {
	mu         sync.Mutex
	connection catalognode.ProviderConnection
}

func (p *provider) module() backend.Feature {
	return backend.NewModule("catalog", "bench", func(env *backend.ModuleEnv) backend.InitFunc {
		processing := catalognode.Processing.From(env)
		return func(context.Context) error { return processing().AddProvider(p) }
	}, backend.WithDescription("Hands a synthetic catalog in"))
}

// ProviderName implements [catalognode.EntityProvider].
func (p *provider) ProviderName() string { return "bench" }

// Connect implements [catalognode.EntityProvider].
func (p *provider) Connect(_ context.Context, c catalognode.ProviderConnection) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connection = c
	return nil
}

// handler answers POST /apply?n=…&form=…&changed=… with a full mutation, and
// profiles of the process.
func (p *provider) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("POST /apply", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.FormValue("n"))
		if err != nil || n < 0 {
			http.Error(w, "n must be a number of entities", http.StatusBadRequest)
			return
		}
		c := shape.Catalog{Form: shape.Form(r.FormValue("form")), Entities: n, Changed: r.FormValue("changed")}
		if c.Form == "" {
			c.Form = shape.Regular
		}
		began := time.Now()
		report, err := p.apply(r.Context(), c)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"n":%d,"applyMs":%d,"added":%d,"changed":%d,"removed":%d}`+"\n",
			n, time.Since(began).Milliseconds(), report.Added, report.Changed, report.Removed)
	})
	return mux
}

func (p *provider) apply(ctx context.Context, c shape.Catalog) (catalognode.MutationReport, error) {
	p.mu.Lock()
	connection := p.connection
	p.mu.Unlock()
	if connection == nil {
		return catalognode.MutationReport{}, errors.New("the catalog has not started yet")
	}
	return connection.ApplyFull(ctx, deferred(c))
}

func deferred(c shape.Catalog) iter.Seq2[catalognode.DeferredEntity, error] {
	return func(yield func(catalognode.DeferredEntity, error) bool) {
		for e := range c.All() {
			if !yield(catalognode.DeferredEntity{Entity: e, LocationKey: "bench"}, nil) {
				return
			}
		}
	}
}
