//! Numbers as people read them.

/// Microseconds with three significant digits, in the unit that fits.
pub(crate) fn duration(us: u64) -> String {
    let (ms, s) = (us as f64 / 1e3, us as f64 / 1e6);
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..10_000 => format!("{ms:.2} ms"),
        10_000..100_000 => format!("{ms:.1} ms"),
        100_000..1_000_000 => format!("{ms:.0} ms"),
        1_000_000..10_000_000 => format!("{s:.2} s"),
        10_000_000..60_000_000 => format!("{s:.1} s"),
        _ => format!("{}m {:02}s", us / 60_000_000, us / 1_000_000 % 60),
    }
}

/// A rate or a ratio with about three significant digits.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        0.0..1.0 => format!("{value:.3}"),
        1.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A share between 0 and 1, as a percentage.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// `1 trace`, `2 traces`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_readable() {
        let table = [
            (0, "0 µs"),
            (999, "999 µs"),
            (1_234, "1.23 ms"),
            (12_345, "12.3 ms"),
            (123_456, "123 ms"),
            (1_234_567, "1.23 s"),
            (12_345_678, "12.3 s"),
            (123_456_789, "2m 03s"),
        ];
        for (us, expected) in table {
            assert_eq!(duration(us), expected);
        }
    }

    #[test]
    fn numbers_keep_three_digits() {
        let table = [(0.0123, "0.012"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1234")];
        for (value, expected) in table {
            assert_eq!(number(value), expected);
        }
        assert_eq!(percent(0.9876), "98.8%");
        assert_eq!((count(1, "trace"), count(0, "trace")), ("1 trace".into(), "0 traces".into()));
    }
}
