use super::*;

const TEXT: &str = "\
virtio_net\tkernel/virtio_net.ko\tnet_failover\t\tvirtio:d00000001v*
net_failover\tkernel/net_failover.ko\tfailover
failover\tkernel/failover.ko
ext4\tkernel/ext4.ko.xz\tmbcache,jbd2,crc16\tcrc32c\tfs-ext4 ext3
jbd2\tkernel/jbd2.ko\t\t\t
mbcache\tkernel/mbcache.ko
crc16\tkernel/crc16.ko
crc32c_generic\tkernel/crc32c.ko\t\t\tcrypto-crc32c crc32c
one\tone.ko\ttwo
two\ttwo.ko\tone
broken\tbroken.ko\tgone
# a remark\twith a tab
nonsense
";

fn names(order: &[&Module]) -> Vec<String> {
    order.iter().map(|module| module.name.clone()).collect()
}

#[test]
fn what_a_module_needs_comes_before_it() {
    let index = Index::parse(TEXT);
    assert_eq!(index.len(), 11);
    assert_eq!(names(&index.order("virtio-net").unwrap()), ["failover", "net_failover", "virtio_net"]);
    assert_eq!(names(&index.order("ext4").unwrap()), ["mbcache", "jbd2", "crc16", "crc32c_generic", "ext4"]);
}

#[test]
fn a_circle_ends_and_a_gap_is_named() {
    let index = Index::parse(TEXT);
    assert_eq!(names(&index.order("one").unwrap()), ["two", "one"]);
    assert_eq!(index.order("broken").unwrap_err(), Missing("gone".into()));
}

#[test]
fn a_device_finds_its_driver() {
    let index = Index::parse(TEXT);
    assert_eq!(index.matching("virtio:d00000001v00001AF4").collect::<Vec<_>>(), ["virtio_net"]);
    assert_eq!(index.matching("virtio:d00000009v00001AF4").count(), 0);
}
