package bad

import clock "time"

func wait() { clock.Sleep(clock.Second) }
