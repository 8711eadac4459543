import BlockStorage
import Testing

@testable import Sluice

@Suite struct HypervisorDiskTests {
    private let address = VolumeAddress(pool: "fast", name: "web")

    @Test("A file comes with its whole chain, each image with its format, and commas doubled")
    func files() {
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
            disk.libvirtXML() == """
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
    func exports() {
        let disk = HypervisorDisk(
            address: address, source: .export(.unix("/run/a&b's.sock"), name: "fast/web"), isReadOnly: true)
        #expect(
            disk.qemuArguments[1]
                == "driver=nbd,node-name=sluice-web,read-only=on,server.type=unix,server.path=/run/a&b's.sock,"
                + "export=fast/web,reconnect-delay=300")
        #expect(
            disk.libvirtXML(reconnects: true) == """
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
                    + #""iops-total-max":1500,"iops-total-max-length":60,"iops-size":4096}}"#,
                "-blockdev",
                "driver=throttle,node-name=sluice-web,discard=unmap,throttle-group=sluice-web-limits,"
                    + "file.driver=raw,file.discard=unmap,file.file.driver=file,file.file.filename=/srv/web",
            ])
        #expect(
            disk.libvirtXML().contains(
                """
                  <iotune>
                    <total_iops_sec>500</total_iops_sec>
                    <total_iops_sec_max>1500</total_iops_sec_max>
                    <total_iops_sec_max_length>60</total_iops_sec_max_length>
                    <size_iops_sec>4096</size_iops_sec>
                  </iotune>
                """))
        #expect(try HypervisorLimits(QoSPolicy(minIOPS: 100)) == nil)
        #expect(try HypervisorLimits(QoSPolicy(maxIOPS: 100, burstIOPS: 100))?.burst == nil)
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
