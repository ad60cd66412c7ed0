//! The only unsafe code: MLX writes a graph into memory.

use std::ffi::c_char;
use std::io::Error;
use std::ptr;

use mlx_rs::Array;

use crate::GraphError;

/// A stream of C's standard library that writes into memory.
struct MemoryStream {
    file: *mut libc::FILE,
    /// Where the text is once the file is closed; C's library keeps both addresses, so they must not move.
    text: Box<(*mut c_char, usize)>,
}

impl MemoryStream {
    fn open() -> Result<Self, Error> {
        let mut text = Box::new((ptr::null_mut(), 0));
        // SAFETY: both addresses stay valid until the file is closed in `close`, since they are in a box that moves with it.
        let file = unsafe { libc::open_memstream(&mut text.0, &mut text.1) };
        if file.is_null() { Err(Error::last_os_error()) } else { Ok(Self { file, text }) }
    }

    /// What was written.
    fn close(self) -> Result<String, Error> {
        let Self { file, text } = self;
        // SAFETY: the file is open, and nobody uses it afterwards.
        if unsafe { libc::fclose(file) } != 0 {
            return Err(Error::last_os_error());
        }
        let (address, length) = *text;
        // SAFETY: `fclose` has set both: `length` bytes that belong to us.
        let bytes = unsafe { std::slice::from_raw_parts(address.cast::<u8>(), length) };
        let written = String::from_utf8_lossy(bytes).into_owned();
        // SAFETY: C's library allocated the memory with `malloc`; it is not used any more.
        unsafe { libc::free(address.cast()) };
        Ok(written)
    }
}

/// The graph that leads to an array, in DOT.
pub(crate) fn export(output: &Array) -> Result<String, GraphError> {
    let stream = MemoryStream::open()?;
    // SAFETY: the array lives until the end of the function, and so its handle is valid; vector and namer are freed after their
    // last use. `FILE` is the same type of C's standard library in both crates.
    let status = unsafe {
        let outputs = mlx_sys::mlx_vector_array_new_value(output.as_ptr());
        let namer = mlx_sys::mlx_node_namer_new();
        let status = mlx_sys::mlx_export_to_dot(stream.file.cast(), namer, outputs);
        mlx_sys::mlx_node_namer_free(namer);
        mlx_sys::mlx_vector_array_free(outputs);
        status
    };
    let dot = stream.close()?;
    if status == 0 { Ok(dot) } else { Err(GraphError::Mlx) }
}
