module mtls-operator.dev/tests/support/go

go 1.24
