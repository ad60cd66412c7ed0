//! How the engine computes: the one switch between its two paths, set when a model is loaded.

use mlx_rs::error::Exception;
use mlx_rs::{Device, DeviceType};
use serde::{Deserialize, Serialize};

use crate::engine::EngineError;

/// How the engine computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ComputePath {
    /// By our own kernels, in f32: made for the CPU. No answer's bits depend on who else is served.
    Cpu,
    /// By MLX's operations, in the weights' precision: made for GPUs. MLX can compute them on the CPU too, slowly: so that any
    /// machine can check them.
    Gpu,
}

impl ComputePath {
    /// Both paths.
    pub const ALL: [Self; 2] = [Self::Cpu, Self::Gpu];

    /// The path made for MLX's default device.
    pub fn of_device() -> Result<Self, Exception> {
        Ok(match Device::try_default()?.get_type()? {
            DeviceType::Cpu => Self::Cpu,
            DeviceType::Gpu => Self::Gpu,
        })
    }

    /// The path itself, if MLX's default device can compute it; an error that says why not.
    pub(crate) fn checked(self) -> Result<Self, EngineError> {
        match (self, Self::of_device()?) {
            (Self::Cpu, Self::Gpu) => {
                Err(EngineError::Device("the CPU path needs MLX to compute on the CPU, but its default device is a GPU".into()))
            }
            (path, _) => Ok(path),
        }
    }

    /// The name that users write.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
        }
    }
}
