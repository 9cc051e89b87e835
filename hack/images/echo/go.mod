module mtls-operator.dev/hack/images/echo

go 1.24
