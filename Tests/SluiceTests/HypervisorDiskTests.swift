import BlockStorage
import SystemPackage
import Testing

@testable import Sluice

@Suite struct HypervisorDiskTests {
    private let address = VolumeAddress(pool: "fast", name: "web")

    @Test("A file comes with its whole chain, each image with its format, and commas doubled")
    func files() throws {
        let disk = HypervisorDisk(
            address: address,
            source: .files([
                .init(path: "/srv/a,b/web.qcow2", format: .qcow2), .init(path: "/srv/base.qcow2", format: .qcow2),
                .init(path: "/srv/root.raw", format: .raw),
            ]), isReadOnly: false)
        #expect(
            disk.qemuArguments == [
                "-blockdev",
                "driver=qcow2,node-name=sluice-web,discard=unmap,file.driver=file,file.filename=/srv/a,,b/web.qcow2,"
                    + "backing.driver=qcow2,backing.file.driver=file,backing.file.filename=/srv/base.qcow2,"
                    + "backing.backing.driver=raw,backing.backing.file.driver=file,"
                    + "backing.backing.file.filename=/srv/root.raw",
            ])
        #expect(
            try disk.libvirtXML() == """
                <disk type='file' device='disk'>
                  <driver name='qemu' type='qcow2' discard='unmap'/>
                  <source file='/srv/a,b/web.qcow2'/>
                  <backingStore type='file'>
                    <format type='qcow2'/>
                    <source file='/srv/base.qcow2'/>
                    <backingStore type='file'>
                      <format type='raw'/>
                      <source file='/srv/root.raw'/>
                      <backingStore/>
                    </backingStore>
                  </backingStore>
                  <target dev='vda' bus='virtio'/>
                </disk>
                """)
    }

    @Test("An export comes with the delay in which it may restart")
    func exports() throws {
        let disk = HypervisorDisk(
            address: address, source: .export(.unix("/run/a&b's.sock"), name: "fast/web"), isReadOnly: true)
        #expect(
            disk.qemuArguments[1]
                == "driver=nbd,node-name=sluice-web,read-only=on,server.type=unix,server.path=/run/a&b's.sock,"
                + "export=fast/web,reconnect-delay=300")
        #expect(
            try disk.libvirtXML(reconnects: true) == """
                <disk type='network' device='disk'>
                  <driver name='qemu' type='raw'/>
                  <source protocol='nbd' name='fast/web'>
                    <host transport='unix' socket='/run/a&amp;b&apos;s.sock'/>
                    <reconnect delay='300'/>
                  </source>
                  <target dev='vda' bus='virtio'/>
                  <readonly/>
                </disk>
                """)
    }

    @Test("Limits that the hypervisor enforces are a filter above the image, and iotune")
    func limits() throws {
        let policy = try QoSPolicy(minIOPS: 100, maxIOPS: 500, burstIOPS: 1500)
        let disk = HypervisorDisk(
            address: address, source: .files([.init(path: "/srv/web", format: .raw)]), isReadOnly: false,
            limits: HypervisorLimits(policy))
        #expect(
            disk.qemuArguments == [
                "-object",
                #"{"qom-type":"throttle-group","id":"sluice-web-limits","limits":{"iops-total":500,"#
                    + #""iops-total-max":1500,"iops-total-max-length":40,"iops-size":4096}}"#,
                "-blockdev",
                "driver=throttle,node-name=sluice-web,discard=unmap,throttle-group=sluice-web-limits,"
                    + "file.driver=raw,file.discard=unmap,file.file.driver=file,file.file.filename=/srv/web",
            ])
        #expect(
            try disk.libvirtXML().contains(
                """
                  <iotune>
                    <total_iops_sec>500</total_iops_sec>
                    <total_iops_sec_max>1500</total_iops_sec_max>
                    <total_iops_sec_max_length>40</total_iops_sec_max_length>
                    <size_iops_sec>4096</size_iops_sec>
                  </iotune>
                """))
        #expect(try HypervisorLimits(QoSPolicy(minIOPS: 100)) == nil)
        #expect(disk.differences.first == "The minimum is left out: QEMU knows none.")
    }

    @Test("An image in a cluster refers to its key by the file and by the secret that hold it")
    func cluster() throws {
        let secrets = SecretStore(directory: "/home/secrets")
        let image = RBDImage(
            path: "rbd/web", format: .raw, snapshot: "monday",
            location: try RBDLocation(
                PoolURL.parse("rbd://cloud@mon1:6789,[2001:db8::1]/rbd?conf=/etc/ceph/a,b.conf").url),
            secret: "0D8B6B1E-8F6E-4F39-9A58-0F6E2B0B8F11", secrets: secrets)
        let disk = HypervisorDisk(
            address: address, source: .rbd(try #require(image)), isReadOnly: true)
        #expect(
            disk.qemuArguments == [
                "-object",
                "secret,id=sluice-web-key,format=base64,file=/home/secrets/0D8B6B1E-8F6E-4F39-9A58-0F6E2B0B8F11",
                "-blockdev",
                "driver=raw,node-name=sluice-web,read-only=on,file.driver=rbd,file.pool=rbd,file.image=web,"
                    + "file.snapshot=monday,file.conf=/etc/ceph/a,,b.conf,file.user=cloud,"
                    + "file.key-secret=sluice-web-key,file.server.0.host=mon1,file.server.0.port=6789,"
                    + "file.server.1.host=2001:db8::1,file.server.1.port=3300,"
                    + "file.server.2.host=2001:db8::1,file.server.2.port=6789",
            ])
        #expect(
            try disk.libvirtXML() == """
                <disk type='network' device='disk'>
                  <driver name='qemu' type='raw' cache='writeback'/>
                  <auth username='cloud'>
                    <secret type='ceph' uuid='0d8b6b1e-8f6e-4f39-9a58-0f6e2b0b8f11'/>
                  </auth>
                  <source protocol='rbd' name='rbd/web'>
                    <host name='mon1' port='6789'/>
                    <host name='2001:db8::1'/>
                    <snapshot name='monday'/>
                    <config file='/etc/ceph/a,b.conf'/>
                  </source>
                  <target dev='vda' bus='virtio'/>
                  <readonly/>
                </disk>
                """)
        #expect(
            disk.libvirtSecretXML == """
                <secret ephemeral='no' private='yes'>
                  <uuid>0d8b6b1e-8f6e-4f39-9a58-0f6e2b0b8f11</uuid>
                  <usage type='ceph'>
                    <name>cloud@mon1:6789,[2001:db8::1]/rbd</name>
                  </usage>
                </secret>
                """)
    }

    @Test("A logical unit is logged in to with a secret that stands in a file")
    func unit() throws {
        let name = SecretStore.name(of: "iscsi fast")
        #expect(name == SecretStore.name(of: "iscsi fast") && name != SecretStore.name(of: "iscsi slow"))
        var unit = ISCSIDisk(
            format: .raw, portal: "[2001:db8::1]:3260", target: "iqn.2010-01.com.solidfire:c.web.7", lun: 1,
            initiatorName: "iqn.1993-08.org.debian:01:host",
            login: ISCSIDisk.Login(user: "sluice", secret: name.lowercased(), secretFile: "/home/secrets/\(name)"),
            hasHeaderDigest: true)
        let disk = HypervisorDisk(address: address, source: .iscsi(unit), isReadOnly: false)
        #expect(
            disk.qemuArguments == [
                "-object", "secret,id=sluice-web-key,format=raw,file=/home/secrets/\(name)", "-blockdev",
                "driver=raw,node-name=sluice-web,discard=unmap,file.driver=iscsi,file.transport=tcp,"
                    + "file.portal=[2001:db8::1]:3260,file.target=iqn.2010-01.com.solidfire:c.web.7,file.lun=1,"
                    + "file.initiator-name=iqn.1993-08.org.debian:01:host,file.header-digest=crc32c,file.user=sluice,"
                    + "file.password-secret=sluice-web-key",
            ])
        #expect(
            try disk.libvirtXML() == """
                <disk type='network' device='disk'>
                  <driver name='qemu' type='raw' cache='none' discard='unmap'/>
                  <auth username='sluice'>
                    <secret type='iscsi' uuid='\(name.lowercased())'/>
                  </auth>
                  <source protocol='iscsi' name='iqn.2010-01.com.solidfire:c.web.7/1'>
                    <host name='2001:db8::1' port='3260'/>
                    <initiator>
                      <iqn name='iqn.1993-08.org.debian:01:host'/>
                    </initiator>
                  </source>
                  <target dev='vda' bus='virtio'/>
                </disk>
                """)
        #expect(
            disk.libvirtSecretXML == """
                <secret ephemeral='no' private='yes'>
                  <uuid>\(name.lowercased())</uuid>
                  <usage type='iscsi'>
                    <target>sluice@[2001:db8::1]:3260</target>
                  </usage>
                </secret>
                """)
        unit.login = nil
        let open = HypervisorDisk(address: address, source: .iscsi(unit), isReadOnly: true)
        #expect(open.qemuArguments.first == "-blockdev" && open.secretFile == nil && open.libvirtSecretXML == nil)
    }

    @Test("Without a cache QEMU goes past caches, and what libvirt cannot be told is refused")
    func clusterWithoutCache() async throws {
        let secrets = SecretStore(directory: "/home/secrets")
        func disk(_ url: String) throws -> HypervisorDisk {
            let image = RBDImage(
                path: "rbd/web", format: .raw, snapshot: nil, location: try RBDLocation(PoolURL.parse(url).url),
                secret: nil, secrets: secrets)
            return HypervisorDisk(address: address, source: .rbd(try #require(image)), isReadOnly: false)
        }
        #expect(
            try disk("rbd://admin@mon1:3300/rbd?cache=0").qemuArguments == [
                "-blockdev",
                "driver=raw,node-name=sluice-web,discard=unmap,cache.direct=on,file.driver=rbd,file.pool=rbd,"
                    + "file.image=web,file.user=admin,file.server.0.host=mon1,file.server.0.port=3300",
            ])
        #expect(
            try disk("rbd://admin@mon1/rbd?cache=0").libvirtXML().contains("cache='none' discard='unmap'"))
        await expect(.notSupported) { try disk("rbd://cloud@mon1/rbd?keyring=/etc/ceph/k").libvirtXML() }
    }

    @Test("Node names are what QEMU allows, and differ where volumes do")
    func nodeNames() {
        let names = [
            "web", "web+1", "web-1", "w.1", String(repeating: "a", count: 200),
            String(repeating: "a", count: 199) + "b",
        ]
        let nodes = names.map { name in
            HypervisorDisk(address: VolumeAddress(pool: "p", name: name), source: .files([]), isReadOnly: false)
                .nodeName
        }
        #expect(Set(nodes).count == names.count)
        for node in nodes {
            #expect(node.utf8.count <= 31)
            #expect(node.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") })
        }
    }
}
