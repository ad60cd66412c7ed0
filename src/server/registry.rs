//! Registering metrics.

use prometheus::Registry;
use prometheus::core::Collector;

/// Adds a metric to a registry.
pub(crate) fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<C>) -> C {
    // Fails only for a malformed or repeated name. All names are constants, and every test that starts a server runs this.
    let metric = metric.expect("a metric's name is well-formed");
    registry.register(Box::new(metric.clone())).expect("a metric's name is unique");
    metric
}
