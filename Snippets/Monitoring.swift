// What an agent does once so that its volumes are measured and its log says where things happen.

import Logging
import Metrics
import Sluice

// snippet.start
let metrics = PrometheusMetrics()
MetricsSystem.bootstrap(metrics)
LoggingSystem.bootstrap { label in StreamLogHandler.standardError(label: label) }

let host = try await StorageHost.open()
// http://127.0.0.1:9402/metrics
let server = try await MetricsServer.start(host: "127.0.0.1", port: 9402) {
    host.publishMetrics()
    return metrics.text()
}
// snippet.end
await server.stop()
