//! Numbers as people read and write them.

use std::time::Duration;

/// The units of a time that users write, each in microseconds. A unit comes before those that it ends in.
const UNITS: [(&str, f64); 6] = [("µs", 1.0), ("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 60e6), ("h", 3600e6)];

/// The longest time that users may write, in microseconds: about 30 years.
const LONGEST_US: f64 = 1e15;

/// A time that a user wrote, such as `500ms` or `1.5 h`: at least a microsecond.
pub(crate) fn parse_time(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (count, unit_us) = UNITS.iter().find_map(|(unit, us)| Some((text.strip_suffix(unit)?, us)))?;
    let us = count.trim().parse::<f64>().ok()? * unit_us;
    (1.0..=LONGEST_US).contains(&us).then(|| Duration::from_micros(us.round() as u64))
}

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
        60_000_000..3_600_000_000 => format!("{}m {:02}s", us / 60_000_000, us / 1_000_000 % 60),
        _ => format!("{}h {:02}m", us / 3_600_000_000, us / 60_000_000 % 60),
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

/// A number with a comma between each group of three digits: `12,345`.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(n), text);
        }
    }

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
            (200_000_000_000, "55h 33m"),
        ];
        for (us, expected) in table {
            assert_eq!(duration(us), expected);
        }
    }

    #[test]
    fn a_time_is_a_number_with_its_unit() {
        let table = [
            ("500ms", 500_000),
            ("2s", 2_000_000),
            ("1.5 ms", 1_500),
            ("40us", 40),
            (" 7 µs", 7),
            ("5m", 300_000_000),
            ("1.5h", 5_400_000_000),
        ];
        for (text, us) in table {
            assert_eq!(parse_time(text), Some(Duration::from_micros(us)), "{text}");
        }
        for text in ["", "5", "ms", "-1s", "0s", "0.4us", "1e999s", "1e12h", "infs", "NaNs", "5d"] {
            assert_eq!(parse_time(text), None, "{text}");
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
