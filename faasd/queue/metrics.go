package queue

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// counters are what is counted of a queue since it was opened.
type counters struct {
	done, callbacks, refused *prometheus.CounterVec
	retries                  prometheus.Counter
}

func (c *counters) init() {
	vec := func(name, help, label string, values ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dfaas_provider_async_" + name, Help: help}, []string{label})
		for _, value := range values {
			v.WithLabelValues(value)
		}
		return v
	}
	c.done = vec("done_total", "Asynchronous calls that are done: served, failed (the last try ended with 400 or more), or abandoned, "+
		"since the provider died with them every time.", "outcome", "served", "failed", "abandoned")
	c.callbacks = vec("callbacks_total", "Attempts to deliver results: delivered, retried later, failed for good, or refused for their address.",
		"outcome", "delivered", "retried", "failed", "refused")
	c.refused = vec("refused_total", "Asynchronous calls that the queue has not taken: it was full, the source had its share, the disk had no room.",
		"reason", "full", "share", "disk")
	c.retries = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "dfaas_provider_async_retries_total", Help: "Times that an asynchronous call failed and was put off to be tried again."})
}

var (
	descCalls = prometheus.NewDesc("dfaas_provider_async_calls",
		"Asynchronous calls in the queue: queued, running, or callback, whose result is to be delivered.", []string{"state"}, nil)
	descBytes  = prometheus.NewDesc("dfaas_provider_async_bytes", "Bytes that they take.", nil, nil)
	descOldest = prometheus.NewDesc("dfaas_provider_async_oldest_seconds", "Age of the oldest one that is not executed yet; 0 without one.", nil, nil)
)

var _ prometheus.Collector = (*Queue)(nil)

// Describe implements prometheus.Collector.
func (q *Queue) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descCalls, descBytes, descOldest} {
		ch <- d
	}
	for _, c := range q.counters.all() {
		c.Describe(ch)
	}
}

func (c *counters) all() []prometheus.Collector {
	return []prometheus.Collector{c.done, c.callbacks, c.refused, c.retries}
}

// Collect implements prometheus.Collector.
func (q *Queue) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	s := q.stats(time.Now())
	gauge(descCalls, float64(s.queued), "queued")
	gauge(descCalls, float64(s.running), "running")
	gauge(descCalls, float64(s.callback), "callback")
	gauge(descBytes, float64(s.bytes))
	gauge(descOldest, s.oldest.Seconds())
	for _, c := range q.counters.all() {
		c.Collect(ch)
	}
}

type stats struct {
	queued, running, callback int
	bytes                     int64
	oldest                    time.Duration
}

func (q *Queue) stats(now time.Time) stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := stats{bytes: q.usage.total.bytes}
	for _, e := range q.entries {
		switch {
		case e.done:
			s.callback++
			continue
		case e.begun:
			s.running++
		default:
			s.queued++
		}
		s.oldest = max(s.oldest, now.Sub(e.accepted))
	}
	return s
}
