//! Lists of which thousands grow at the same time and each is read once: in chunks that are used again, so that they take
//! the memory of what is in them, and not what each of them ever took.

/// Places of a chunk.
const CHUNK: usize = 16;

/// One list: its first chunk, and the first free place of the last one. Places are numbered through; no list uses 0.
#[derive(Clone, Copy, Default)]
pub(crate) struct List {
    first: u32,
    end: u32,
}

impl List {
    pub(crate) fn is_empty(self) -> bool {
        self.end == 0
    }
}

/// The places of all lists, and of each chunk the one after it.
pub(crate) struct Chunks<E> {
    entries: Vec<E>,
    next: Vec<u32>,
    free: u32,
}

impl<E: Copy> Chunks<E> {
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            next: Vec::new(),
            free: 0,
        }
    }

    /// One more at the end of a list; gives its place.
    #[inline(always)]
    pub(crate) fn push(&mut self, list: &mut List, entry: E) -> u32 {
        if (list.end as usize).is_multiple_of(CHUNK) {
            self.lengthen(list, entry);
        }
        let place = list.end;
        self.entries[place as usize] = entry;
        list.end += 1;
        place
    }

    /// One more chunk for a list.
    #[inline(never)]
    fn lengthen(&mut self, list: &mut List, filler: E) {
        let chunk = if self.free == 0 {
            let new = self.next.len().max(1);
            self.next.resize(new + 1, 0);
            self.entries.resize((new + 1) * CHUNK, filler);
            new as u32
        } else {
            let chunk = self.free;
            self.free = self.next[chunk as usize];
            chunk
        };
        if list.is_empty() {
            list.first = chunk;
        } else {
            self.next[list.end as usize / CHUNK - 1] = chunk;
        }
        list.end = chunk * CHUNK as u32;
    }

    /// What is in a place.
    #[inline]
    pub(crate) fn get(&self, place: u32) -> &E {
        &self.entries[place as usize]
    }

    /// A list, from its begin: the place of each chunk's first entry, and what is in the chunk.
    pub(crate) fn read(&self, list: List) -> impl Iterator<Item = (u32, &[E])> {
        let last = (list.end as usize).saturating_sub(1) / CHUNK;
        let mut next = (!list.is_empty()).then_some(list.first as usize);
        std::iter::from_fn(move || {
            let chunk = next?;
            let begin = chunk * CHUNK;
            let end = if chunk == last {
                next = None;
                list.end as usize
            } else {
                next = Some(self.next[chunk] as usize);
                begin + CHUNK
            };
            Some((begin as u32, &self.entries[begin..end]))
        })
    }

    /// Empties a list. What was in its places can be read until the next push.
    pub(crate) fn free(&mut self, list: List) {
        if !list.is_empty() {
            self.next[(list.end as usize - 1) / CHUNK] = self.free;
            self.free = list.first;
        }
    }

    /// Places that there are, used or not.
    #[cfg(test)]
    pub(crate) fn places(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Stream};

    #[test]
    fn as_many_vectors() {
        let mut random = Stream::new(1, Purpose::FREE, 0);
        let mut chunks = Chunks::new();
        let mut lists: Vec<(List, Vec<u64>)> = vec![Default::default(); 20];
        let mut most = 0;
        for n in 0..20_000 {
            let (list, model) = &mut lists[random.below(20) as usize];
            if random.below(50) > 0 {
                chunks.push(list, n);
                model.push(n);
                continue;
            }
            let read = chunks.read(*list).flat_map(|(first, entries)| {
                let places = first..first + entries.len() as u32;
                assert!(places.clone().zip(entries).all(|(p, e)| chunks.get(p) == e));
                entries.iter().copied()
            });
            assert_eq!(read.collect::<Vec<_>>(), *model);
            chunks.free(std::mem::take(list));
            model.clear();
            let in_use: usize = lists.iter().map(|(_, m)| m.len()).sum();
            most = most.max(in_use);
        }
        assert!(chunks.places() <= most + 40 * CHUNK, "{}", chunks.places());
    }
}
