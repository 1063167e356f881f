module example.org/bad/internal/sqlitehost

go 1.26
