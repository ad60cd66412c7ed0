//! The sizes of keys and values, layer by layer.

use super::{Config, Family};

/// The sizes of the keys and values of one layer with attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvLayerShape {
    /// Key/value heads.
    pub heads: usize,
    /// Numbers in a head's key.
    pub width: usize,
    pub values: ValueShape,
}

/// Where values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueShape {
    /// In an array of their own, of this many numbers in a head's value.
    Own(usize),
    /// At the beginning of their keys.
    InKeys,
}

impl KvLayerShape {
    /// Keys and values of one width.
    fn new(heads: usize, width: usize) -> Self {
        Self { heads, width, values: ValueShape::Own(width) }
    }

    /// Numbers of one token.
    fn numbers(&self) -> usize {
        let values = if let ValueShape::Own(width) = self.values { width } else { 0 };
        self.heads * (self.width + values)
    }
}

impl Config {
    /// The sizes of the keys and values that a layer attends to.
    pub fn kv_shape(&self, layer: usize) -> KvLayerShape {
        match &self.family {
            Family::Gemma4(own) if !own.sliding[layer] => KvLayerShape::new(own.full.kv_heads, own.full.head_dim),
            Family::Glm4MoeLite(own) => KvLayerShape { heads: 1, width: own.latent.key_width(), values: ValueShape::InKeys },
            _ => KvLayerShape::new(self.kv_heads, self.head_dim),
        }
    }

    /// The same of all layers that have keys and values of their own, in their order.
    pub fn kv_shapes(&self) -> Vec<KvLayerShape> {
        (0..self.layers).filter(|layer| self.has_keys(*layer)).map(|layer| self.kv_shape(layer)).collect()
    }

    /// Numbers of one token's keys and values in all layers.
    pub fn kv_numbers(&self) -> usize {
        self.kv_shapes().iter().map(KvLayerShape::numbers).sum()
    }

    /// A layer's number among those of its kind, counted from 0: those with keys and values, or recurrent ones. For a layer that
    /// attends to another one's keys and values, the number of that one.
    pub fn slot(&self, layer: usize) -> usize {
        match &self.family {
            Family::Gemma4(own) => own.kv_layer(layer),
            _ => (0..layer).filter(|before| self.is_recurrent(*before) == self.is_recurrent(layer)).count(),
        }
    }

    /// Whether a layer has keys and values of its own.
    fn has_keys(&self, layer: usize) -> bool {
        match &self.family {
            Family::Gemma4(own) => layer < own.own_layers(),
            _ => !self.is_recurrent(layer),
        }
    }
}
