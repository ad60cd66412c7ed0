//! The sizes of keys and values, layer by layer.

use super::Config;

/// The sizes of the keys and values of one layer with attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvLayerShape {
    /// Key/value heads.
    pub heads: usize,
    /// Numbers in a head's key, and in its value.
    pub width: usize,
}

impl Config {
    /// The sizes of a layer's keys and values.
    pub fn kv_shape(&self, _layer: usize) -> KvLayerShape {
        KvLayerShape { heads: self.kv_heads, width: self.head_dim }
    }

    /// The same of all layers that have keys and values, in their order.
    pub fn kv_shapes(&self) -> Vec<KvLayerShape> {
        (0..self.layers).filter(|layer| !self.is_recurrent(*layer)).map(|layer| self.kv_shape(layer)).collect()
    }
}
