//! Escapes in a text: those of JSON are read as what they stand for, so that a secret is seen through them.

/// The length of an escape like `\\u0026`.
pub(super) const UNICODE: usize = 6;

/// What the detectors see of a line end that is escaped: it is white space, and no line end of the text itself.
pub(super) const ESCAPED_LINE_END: u8 = b'\x0c';

/// What was read of a text with its next byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EscapeStep {
    /// The byte itself.
    Byte(u8),
    /// Nothing yet: an escape may have begun.
    Nothing,
    /// The bytes that were held back, before this one: a backslash and others that spell nothing. Then this byte, if it is not
    /// held back in turn.
    Held { count: u8, kept: Option<u8> },
    /// An escape that ends here, as the character that it stands for.
    Decoded(u8),
}

/// Reads the escapes of JSON, at any depth.
#[derive(Default)]
pub(super) struct Escape {
    /// Bytes of an escape that have come.
    pub held: u8,
    /// The number in it so far.
    code: u32,
}

impl Escape {
    /// Reads the next byte.
    #[inline(always)]
    pub(crate) fn read(&mut self, byte: u8) -> EscapeStep {
        if self.held == 0 && byte != b'\\' { EscapeStep::Byte(byte) } else { self.read_escape(byte) }
    }

    fn read_escape(&mut self, byte: u8) -> EscapeStep {
        let count = self.held;
        if count == 1 && byte == b'u' {
            (self.held, self.code) = (2, 0);
            return EscapeStep::Nothing;
        }
        if count >= 2
            && let Some(digit) = char::from(byte).to_digit(16)
        {
            self.code = self.code << 4 | digit;
            self.held += 1;
            if usize::from(self.held) < UNICODE {
                return EscapeStep::Nothing;
            }
            self.held = 0;
            // Control characters and letters outside of ASCII are no part of a secret.
            let decoded = u8::try_from(self.code).ok().filter(|byte| (b' '..0x7f).contains(byte));
            return decoded.map_or(EscapeStep::Held { count, kept: Some(b' ') }, EscapeStep::Decoded);
        }
        if byte == b'\\' {
            self.held = 1;
            return if count == 0 { EscapeStep::Nothing } else { EscapeStep::Held { count, kept: None } };
        }
        self.held = 0;
        let kept = match byte {
            b'n' if count == 1 => ESCAPED_LINE_END,
            b'r' | b't' if count == 1 => b' ',
            _ => byte,
        };
        EscapeStep::Held { count, kept: Some(kept) }
    }

    /// The text ends: what is held back is no escape.
    pub(crate) fn end(&mut self) -> EscapeStep {
        match std::mem::take(&mut self.held) {
            0 => EscapeStep::Nothing,
            count => EscapeStep::Held { count, kept: None },
        }
    }
}

/// Escapes of addresses, such as `%20`. A key may start behind one.
#[derive(Default)]
pub(super) struct PercentEscape {
    /// Bytes of one that have come.
    held: u8,
}

impl PercentEscape {
    /// Whether an escape ended right before this byte.
    #[inline]
    pub(crate) fn ends_at(&mut self, byte: u8) -> bool {
        let before = self.held;
        self.held = match before {
            _ if byte == b'%' => 1,
            1 | 2 if byte.is_ascii_hexdigit() => before + 1,
            _ => 0,
        };
        before == 3
    }
}

#[cfg(test)]
mod tests {
    use super::super::Redactor;

    #[test]
    fn secrets_are_seen_through_escapes_of_json() {
        for (text, expected) in [
            (r"key \u0073k-ant-api03-abc done", "key [redacted] done"),
            (r"AccountKey=Zk3vQ9xT1mB7\u002BwR5hJ2nF8cY4\u003D\u003D;x", "AccountKey=[redacted];x"),
            (
                r"{\u0022password\u0022:\u0022swordfish\u0022,\u0022a\u0022:1}",
                r"{\u0022password\u0022:\u0022[redacted]\u0022,\u0022a\u0022:1}",
            ),
            (r"x\u00e9sk-ant-api03-abc\ud83d y", r"x\u00e9[redacted]\ud83d y"),
            (r"C:\users\u12 \u", r"C:\users\u12 \u"),
        ] {
            assert_eq!(Redactor::default().text(text), expected);
        }
    }
}
