//! An order among numbers that are few and small, such as slots of a table:
//! who came first, with any of them taken out at once.

const NONE: u32 = u32::MAX;

pub(crate) struct Queue {
    first: u32,
    last: u32,
    links: Vec<Link>,
}

#[derive(Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
    queued: bool,
}

const LOOSE: Link = Link { before: NONE, after: NONE, queued: false };

impl Queue {
    pub fn new() -> Queue {
        Queue { first: NONE, last: NONE, links: Vec::new() }
    }

    pub fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    /// Puts `number` behind all others. It must not be in the queue.
    pub fn push(&mut self, number: u32) {
        let index = number as usize;
        if self.links.len() <= index {
            self.links.resize(index + 1, LOOSE);
        }
        let before = std::mem::replace(&mut self.last, number);
        self.put(number, Link { before, after: NONE, queued: true });
        match self.links.get_mut(before as usize) {
            Some(link) => link.after = number,
            None => self.first = number,
        }
    }

    /// Nothing happens to a number that is not in the queue.
    pub fn remove(&mut self, number: u32) {
        let Some(link) = self.links.get(number as usize).copied().filter(|link| link.queued) else { return };
        match self.links.get_mut(link.before as usize) {
            Some(before) => before.after = link.after,
            None => self.first = link.after,
        }
        match self.links.get_mut(link.after as usize) {
            Some(after) => after.before = link.before,
            None => self.last = link.before,
        }
        self.put(number, LOOSE);
    }

    fn put(&mut self, number: u32, link: Link) {
        if let Some(place) = self.links.get_mut(number as usize) {
            *place = link;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_of_arrival_whoever_leaves() {
        let mut queue = Queue::new();
        for number in [4, 1, 3, 0] {
            queue.push(number);
        }
        queue.remove(1);
        queue.remove(1);
        queue.remove(9);
        queue.push(1);
        queue.remove(4);
        let mut order = Vec::new();
        while let Some(first) = queue.first() {
            order.push(first);
            queue.remove(first);
        }
        assert_eq!(order, [3, 0, 1]);
        queue.push(2);
        assert_eq!(queue.first(), Some(2));
    }
}
