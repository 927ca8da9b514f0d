# `make check` is what CI runs.
.PHONY: check test vet race real bench
check:
	bash .ci/run
test:
	CGO_ENABLED=0 go test ./...
vet:
	test -z "$$(gofmt -l .)"
	go vet ./...
race:
	go test -race ./...
real:
	bash internal/real/all.sh
bench:
	go run ./internal/bench
