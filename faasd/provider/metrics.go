package provider

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics counts calls under the names that the OpenFaaS gateway uses.
type metrics struct {
	registry *prometheus.Registry
	started  *prometheus.CounterVec
	ended    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	services *prometheus.GaugeVec
	refused  *prometheus.CounterVec
}

func newMetrics() *metrics {
	name, code := []string{"function_name"}, []string{"function_name", "code"}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		started: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gateway_function_invocation_started", Help: "Function calls that began."}, name),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gateway_function_invocation_total", Help: "Function calls that ended, by status; 499: the client went."}, code),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gateway_functions_seconds", Help: "Time that function calls took."}, code),
		services: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gateway_service_count", Help: "Replicas of a function."}, name),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dfaas_provider_refused_total", Help: "Calls that no process was started for, by status."}, []string{"code"}),
	}
	m.registry.MustRegister(m.started, m.ended, m.seconds, m.services, m.refused,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// call counts a call that has ended.
func (m *metrics) call(key string, status int, took time.Duration) {
	code := strconv.Itoa(status)
	m.ended.WithLabelValues(key, code).Inc()
	m.seconds.WithLabelValues(key, code).Observe(took.Seconds())
}

// refuse counts a call that was refused outright.
func (m *metrics) refuse(status int) { m.refused.WithLabelValues(strconv.Itoa(status)).Inc() }

func (m *metrics) replicas(key string, n uint64) { m.services.WithLabelValues(key).Set(float64(n)) }

// forget drops the series of a function that was removed.
func (m *metrics) forget(key string) {
	label := prometheus.Labels{"function_name": key}
	m.started.DeletePartialMatch(label)
	m.ended.DeletePartialMatch(label)
	m.seconds.DeletePartialMatch(label)
	m.services.DeletePartialMatch(label)
}
