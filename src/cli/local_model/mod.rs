//! The model that runs in this process: its folder, how its prefix cache is set up, loading it.

#[cfg(feature = "mlx")]
mod cache_args;
#[cfg(feature = "mlx")]
mod digest;
mod folder;
#[cfg(feature = "mlx")]
mod forecast;
#[cfg(feature = "mlx")]
mod from_env;
#[cfg(feature = "mlx")]
mod loading;
#[cfg(feature = "mlx")]
mod output_args;
#[cfg(feature = "mlx")]
mod text_side;

#[cfg(feature = "mlx")]
pub(super) use self::cache_args::CacheArgs;
#[cfg(feature = "mlx")]
pub(super) use self::digest::digest;
pub(super) use self::folder::{ModelFolder, ModelFolderError, find, in_words, vocabulary_size};
#[cfg(feature = "mlx")]
pub(super) use self::forecast::{ForecastError, forecast};
#[cfg(feature = "mlx")]
pub(super) use self::from_env::from_env;
#[cfg(feature = "mlx")]
pub(super) use self::loading::{load, load_silently};
#[cfg(feature = "mlx")]
pub(super) use self::output_args::OutputArgs;
#[cfg(feature = "mlx")]
pub(super) use self::text_side::text_side;
pub(super) use crate::backend::EMBEDDED;
