module github.com/kvferry/kvferry/internal/sqlitehost

go 1.26.0

require (
	github.com/kvferry/kvferry v0.0.0-00010101000000-000000000000
	github.com/mattn/go-sqlite3 v1.14.53
	github.com/stretchr/testify v1.12.1
	go.uber.org/goleak v1.3.0
)

require (
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/kvferry/kvferry => ../..
