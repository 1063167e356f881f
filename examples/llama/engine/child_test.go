package engine

const childRole = "KVFERRY_LLAMA_CHILD"

func child() int { return 0 }
