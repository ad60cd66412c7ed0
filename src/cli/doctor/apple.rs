//! What building on a Mac needs: mlx-rs compiles MLX and its Metal kernels.

#[cfg(target_os = "macos")]
use super::report::first_line;
use super::requirement::Presence;
#[cfg(target_os = "macos")]
use super::requirement::Requirement;

/// The least version of macOS that a build must be for to have MLX's kernels for the M5.
const M5_TARGET: (u32, u32) = (26, 2);

/// Xcode, CMake, the compiler of Metal kernels, and what this binary was built for.
#[cfg(target_os = "macos")]
pub(super) fn requirements() -> Vec<Requirement> {
    let tool = |thing, program, arguments: &[&str], remedy: &str| {
        let reason = || format!("`{program} {}` fails, and building needs it", arguments.join(" "));
        let lacking = || Presence::Lacking { reason: reason(), remedy: remedy.to_owned() };
        Requirement { thing, presence: first_line(program, arguments).map_or_else(lacking, Presence::Found) }
    };
    vec![
        tool(
            "Xcode",
            "xcodebuild",
            &["-version"],
            "install Xcode from the App Store, then: sudo xcode-select -s /Applications/Xcode.app",
        ),
        tool("CMake", "cmake", &["--version"], "brew install cmake"),
        tool("Metal", "xcrun", &["-sdk", "macosx", "metal", "--version"], "xcodebuild -downloadComponent MetalToolchain"),
        Requirement { thing: "target", presence: target(option_env!("MACOSX_DEPLOYMENT_TARGET")) },
    ]
}

/// What a deployment target means for MLX's kernels.
fn target(built_for: Option<&str>) -> Presence {
    let version = built_for.and_then(|text| {
        let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
        Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
    });
    match version {
        Some(version) if version >= M5_TARGET => Presence::Found(format!("macOS {}", built_for.unwrap_or_default())),
        _ => Presence::Lacking {
            reason: format!(
                "built for macOS {}: without MLX's kernels for the M5",
                built_for.unwrap_or("as the compiler has it")
            ),
            remedy: "on an M5, build again with MACOSX_DEPLOYMENT_TARGET=26.2".into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_must_have_the_kernels_of_the_m5() {
        for (built_for, has) in
            [(None, false), (Some("15.0"), false), (Some("26.1"), false), (Some("26.2"), true), (Some("27"), true)]
        {
            assert_eq!(matches!(target(built_for), Presence::Found(_)), has, "{built_for:?}");
        }
    }
}
