//! Rows of mass that packets carry: a few packets have one, so it is kept beside them.

use crate::design::NO_CARRY;

/// Rows of `T` numbers, by the index in [`crate::design::Packet`].
pub(crate) struct Rows<const T: usize> {
    rows: Vec<[f64; T]>,
    free: Vec<u32>,
}

impl<const T: usize> Rows<T> {
    pub(crate) fn new() -> Self {
        Self {
            rows: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Keeps a row; one without mass takes no place.
    #[inline]
    pub(crate) fn put(&mut self, row: &[f64; T]) -> u32 {
        if row.iter().all(|w| *w == 0.0) {
            return NO_CARRY;
        }
        if let Some(place) = self.free.pop() {
            self.rows[place as usize] = *row;
            return place;
        }
        self.rows.push(*row);
        (self.rows.len() - 1) as u32
    }

    /// Gives a row back; its place is free.
    #[inline]
    pub(crate) fn take(&mut self, place: u32) -> [f64; T] {
        if place == NO_CARRY {
            return [0.0; T];
        }
        self.free.push(place);
        self.rows[place as usize]
    }

    /// All mass is gone; places stay taken.
    pub(crate) fn clear(&mut self) {
        self.rows.fill([0.0; T]);
    }
}
