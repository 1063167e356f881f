package bad

func ExportedByTests() {}
