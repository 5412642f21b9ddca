//! Bytes out of hexadecimal digits.

use std::io::{self, ErrorKind, Read};

/// Reads pairs of digits, with white space anywhere but within a pair.
pub struct HexReader<R> {
    inner: R,
    line: usize,
    column: usize,
    half: Option<u8>,
    /// What is wrong, once it is: told when the bytes before it have been.
    error: Option<String>,
}

impl<R: Read> HexReader<R> {
    pub const fn new(inner: R) -> Self {
        Self { inner, line: 1, column: 1, half: None, error: None }
    }

    /// Takes one character in. The byte that it completes, if it does.
    fn take(&mut self, character: u8) -> Result<Option<u8>, String> {
        let (line, column) = (self.line, self.column);
        if character == b'\n' {
            (self.line, self.column) = (line.saturating_add(1), 1);
        } else {
            self.column = column.saturating_add(1);
        }
        if character.is_ascii_whitespace() {
            return match self.half {
                None => Ok(None),
                Some(_) => Err(format!("line {line}, column {column}: the byte has one digit; it needs two")),
            };
        }
        let digit = char::from(character).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let Some(digit) = digit else {
            let letter = char::from(character);
            return Err(format!("line {line}, column {column}: {letter:?} is no hexadecimal digit"));
        };
        Ok(match self.half.take() {
            None => {
                self.half = Some(digit);
                None
            }
            Some(high) => Some(high << 4 | digit),
        })
    }

    fn end(&mut self) -> Result<(), String> {
        match self.half.take() {
            Some(_) => Err("the last byte has one digit; it needs two".to_string()),
            None => Ok(()),
        }
    }
}

impl<R: Read> Read for HexReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0_usize;
        let mut text = [0; 8 << 10];
        while filled == 0 && !out.is_empty() {
            if let Some(words) = self.error.take() {
                return Err(io::Error::new(ErrorKind::InvalidData, words));
            }
            let room = out.len().saturating_mul(2).min(text.len());
            let length = self.inner.read(text.get_mut(..room).unwrap_or_default())?;
            if length == 0 {
                match self.end() {
                    Ok(()) => return Ok(0),
                    Err(words) => self.error = Some(words),
                }
            }
            for character in text.get(..length).unwrap_or_default() {
                match self.take(*character) {
                    Ok(Some(byte)) => {
                        // At most half as many bytes as characters, and one half from before.
                        if let Some(slot) = out.get_mut(filled) {
                            *slot = byte;
                            filled = filled.saturating_add(1);
                        }
                    }
                    Ok(None) => {}
                    Err(words) => {
                        self.error = Some(words);
                        break;
                    }
                }
            }
        }
        Ok(filled)
    }
}
