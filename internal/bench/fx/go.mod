module github.com/flytower/flytower/internal/bench/fx

go 1.26.0

require (
	github.com/flytower/flytower v0.0.0
	go.uber.org/fx v1.24.0
)

require (
	go.uber.org/dig v1.19.0 // indirect
	go.uber.org/multierr v1.10.0 // indirect
	go.uber.org/zap v1.26.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/flytower/flytower => ../../..
