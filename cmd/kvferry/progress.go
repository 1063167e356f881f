package main

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/kvferry/kvferry/capture"
)

// meter shows how far a transfer is, or nothing where nobody watches. It is
// safe for concurrent use.
type meter struct {
	w     io.Writer // nil: nobody watches
	title string

	mu   sync.Mutex
	bar  *progressbar.ProgressBar // nil until the first update
	most int64
}

// progress returns a meter on standard error, silent unless that is a terminal
// and people are to read it.
func (a *app) progress(title string) *meter {
	m := &meter{title: title}
	if f, ok := a.err.(*os.File); ok && !a.json && term.IsTerminal(int(f.Fd())) {
		m.w = f
	}
	return m
}

// update has the type of the progress callbacks. Updates may arrive in any
// order; the bar never goes back.
func (m *meter) update(p capture.Progress) {
	if m.w == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bar == nil {
		m.bar = progressbar.NewOptions64(p.TotalBytes,
			progressbar.OptionSetWriter(m.w),
			progressbar.OptionSetDescription(m.title),
			progressbar.OptionShowBytes(true),
			progressbar.OptionUseIECUnits(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetWidth(30),
			progressbar.OptionClearOnFinish(),
		)
	}
	if p.Bytes > m.most {
		m.most = p.Bytes
		_ = m.bar.Set64(p.Bytes) // a bar that cannot be drawn is no failure
	}
}

// done takes the bar away.
func (m *meter) done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bar != nil {
		_ = m.bar.Finish()
		_ = m.bar.Clear()
	}
}
