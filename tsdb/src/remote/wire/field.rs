//! Reading protobuf field by field.

use crate::encoding::{ByteReader, Malformed};

/// Takes the fields of one message from the front of its bytes. Offsets in errors count from the start of the body.
#[derive(Debug, Clone)]
pub(crate) struct FieldReader<'a> {
    reader: ByteReader<'a>,
    /// Where the message begins in the body.
    base: usize,
}

/// A field: its number and what stands behind its tag.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    value: Value<'a>,
    /// Where the content begins in the body.
    offset: usize,
}

/// The content of a field, by its wire type.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// Field numbers have 29 bits.
const NUMBER_MAX: u64 = (1 << 29) - 1;

impl<'a> FieldReader<'a> {
    /// Returns a reader of a whole body.
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self::at(body, 0)
    }

    fn at(bytes: &'a [u8], base: usize) -> Self {
        Self {
            reader: ByteReader::new(bytes),
            base,
        }
    }

    /// Takes the next field; `None` at the end of the message.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        self.field().map(Some).map_err(|malformed| Malformed {
            offset: malformed.offset + self.base,
            ..malformed
        })
    }

    #[inline]
    fn field(&mut self) -> Result<Field<'a>, Malformed> {
        let at = self.reader.position();
        let tag = self.reader.uvarint()?;
        let number = tag >> 3;
        if number == 0 || number > NUMBER_MAX {
            return Err(Malformed {
                what: "illegal field number",
                offset: at,
            });
        }
        let mut offset = self.reader.position();
        let value = match tag & 7 {
            0 => Value::Varint(self.reader.uvarint()?),
            1 => Value::Fixed64(self.reader.u64()?),
            2 => {
                let bytes = self.reader.sized_bytes()?;
                offset = self.reader.position() - bytes.len();
                Value::Bytes(bytes)
            }
            5 => {
                self.reader.u32()?;
                Value::Fixed32
            }
            // Groups nest without a length; nothing that is read here has ever had one.
            _ => {
                return Err(Malformed {
                    what: "illegal wire type",
                    offset: at,
                });
            }
        };
        Ok(Field {
            number: number as u32,
            value,
            offset: offset + self.base,
        })
    }

    /// Takes the next number of a packed list; `None` at its end.
    #[inline]
    pub(crate) fn packed(&mut self) -> Result<Option<u64>, Malformed> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let base = self.base;
        self.reader
            .uvarint()
            .map(Some)
            .map_err(|malformed| Malformed {
                offset: malformed.offset + base,
                ..malformed
            })
    }
}

impl<'a> Field<'a> {
    #[cold]
    fn unexpected(&self) -> Malformed {
        Malformed {
            what: "wrong wire type of a field",
            offset: self.offset,
        }
    }

    /// Returns an error at this field.
    #[cold]
    pub(crate) fn malformed(&self, what: &'static str) -> Malformed {
        Malformed {
            what,
            offset: self.offset,
        }
    }

    /// Returns the number of a varint field.
    #[inline]
    pub(crate) fn number(&self) -> Result<u64, Malformed> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(self.unexpected()),
        }
    }

    /// Returns the number of a double field.
    #[inline]
    pub(crate) fn double(&self) -> Result<f64, Malformed> {
        match self.value {
            Value::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(self.unexpected()),
        }
    }

    /// Returns the bytes of a length-delimited field.
    #[inline]
    pub(crate) fn bytes(&self) -> Result<&'a [u8], Malformed> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.unexpected()),
        }
    }

    /// Returns the text of a length-delimited field, or where it is not UTF-8.
    pub(crate) fn text(&self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|error| Malformed {
            what: "text is not UTF-8",
            offset: self.offset + error.valid_up_to(),
        })
    }

    /// Returns a reader of a message, or of a packed list.
    #[inline]
    pub(crate) fn message(&self) -> Result<FieldReader<'a>, Malformed> {
        Ok(FieldReader::at(self.bytes()?, self.offset))
    }

    /// Returns a reader of the numbers of a repeated field, which may be packed or stand alone: writers choose.
    #[inline]
    pub(crate) fn numbers(&self) -> Result<Numbers<'a>, Malformed> {
        match self.value {
            Value::Varint(value) => Ok(Numbers::One(value)),
            Value::Bytes(_) => Ok(Numbers::Packed(self.message()?)),
            _ => Err(self.unexpected()),
        }
    }
}

/// Numbers of a repeated field.
#[derive(Debug, Clone)]
pub(crate) enum Numbers<'a> {
    None,
    One(u64),
    Packed(FieldReader<'a>),
}

impl Numbers<'_> {
    /// Takes the next number.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<u64>, Malformed> {
        match self {
            Self::None => Ok(None),
            Self::One(value) => {
                let value = *value;
                *self = Self::None;
                Ok(Some(value))
            }
            Self::Packed(reader) => reader.packed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_wire_type_are_told_apart() {
        let body = [
            0x08, 0x96, 0x01, // 1: varint 150
            0x11, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, // 2: 1.0
            0x1a, 0x02, b'o', b'k', // 3: "ok"
            0x25, 1, 2, 3, 4, // 4: fixed32, unknown to all
        ];
        let mut reader = FieldReader::new(&body);
        let mut next = || reader.next().unwrap().unwrap();
        let first = next();
        assert_eq!((first.number, first.number()), (1, Ok(150)));
        assert_eq!(next().double(), Ok(1.0));
        assert_eq!(next().text(), Ok("ok"));
        assert_eq!(next().number, 4);
        assert!(reader.next().unwrap().is_none());
    }

    #[test]
    fn errors_tell_the_place_in_the_body() {
        let refused = |body: &[u8]| -> Malformed {
            let mut reader = FieldReader::new(body);
            let field = match reader.next() {
                Ok(Some(field)) => field,
                Ok(None) => panic!("there is a field"),
                Err(malformed) => return malformed,
            };
            let mut inner = field.message().unwrap();
            loop {
                match inner.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("something is wrong"),
                    Err(malformed) => return malformed,
                }
            }
        };
        assert_eq!(refused(&[0x00]).offset, 0);
        assert_eq!(refused(&[0x0b]).what, "illegal wire type");
        assert_eq!(refused(&[0x0a, 5, 1]).what, "length exceeds what is left");
        let nested = refused(&[0x0a, 4, 0x08, 0x01, 0x12, 0x09]);
        assert_eq!(
            (nested.what, nested.offset),
            ("length exceeds what is left", 5)
        );
        assert_eq!(refused(&[0x0a, 2, 0x08, 0xff]).what, "unexpected end");
        assert_eq!(refused(&[0xff; 12]).what, "number exceeds 64 bits");
    }

    #[test]
    fn repeated_numbers_may_be_packed_or_alone() {
        let mut reader = FieldReader::new(&[0x0a, 3, 1, 0x80, 0x01, 0x08, 7]);
        let mut found = Vec::new();
        while let Some(field) = reader.next().unwrap() {
            let mut numbers = field.numbers().unwrap();
            while let Some(number) = numbers.next().unwrap() {
                found.push(number);
            }
        }
        assert_eq!(found, [1, 128, 7]);
    }
}
