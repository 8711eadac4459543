/// An initiator as calls mean it: by its name or by its number.
enum InitiatorReference: ParameterValue, CustomStringConvertible {
    case named(String)
    case numbered(Int)

    static var typeName: String { "the name or the number of an initiator" }

    init?(_ json: JSONValue) {
        if let name = String(json) {
            self = .named(name)
        } else if let number = Int(json) {
            self = .numbered(number)
        } else {
            return nil
        }
    }

    var name: String? {
        if case .named(let name) = self { name } else { nil }
    }

    var description: String {
        switch self {
        case .named(let name): name
        case .numbered(let number): "\(number)"
        }
    }
}

extension ElementCluster {
    static let initiatorMethods: [String: Method] = [
        "CreateInitiators": { (cluster, parameters) throws(ElementError) in
            try cluster.createInitiators(&parameters)
        },
        "ListInitiators": { (cluster, parameters) throws(ElementError) in
            let ids: [Int]? = try parameters.optional("initiators")
            let page = try page(
                cluster.state.initiators.filter { ids?.contains($0.key) ?? true },
                from: parameters.optional("startInitiatorID"), limit: parameters.optional("limit"))
            return ["initiators": .array(page.map(cluster.json))]
        },
        "ModifyInitiators": { (cluster, parameters) throws(ElementError) in
            let wanted: [[String: JSONValue]] = try parameters.required("initiators")
            var changed: [InitiatorRecord] = []
            for values in wanted { changed.append(try cluster.modifyInitiator(values)) }
            return ["initiators": .array(changed.map(cluster.json))]
        },
        "DeleteInitiators": { (cluster, parameters) throws(ElementError) in
            let ids: [Int] = try parameters.required("initiators")
            for id in ids {
                guard cluster.state.initiators.removeValue(forKey: id) != nil else { throw .noInitiator("\(id)") }
                for groupID in cluster.state.groups.keys {
                    cluster.state.groups[groupID]?.initiatorIDs.removeAll { $0 == id }
                }
            }
            return [:]
        },
    ]

    func initiator(_ reference: InitiatorReference) -> InitiatorRecord? {
        switch reference {
        case .numbered(let id): state.initiators[id]
        case .named(let name): state.initiators.values.first { $0.name == name.lowercased() }
        }
    }

    /// Names of initiators have no capitals.
    mutating func addInitiator(
        named name: String?, alias: String = "", attributes: [String: JSONValue] = [:]
    ) throws(ElementError) -> InitiatorRecord {
        guard let name = name?.lowercased() else { throw .noInitiator("with that number") }
        guard limits.initiatorNameLength.contains(name.utf8.count),
            name.utf8.allSatisfy({ $0.isLetterOrDigit || "-.:".utf8.contains($0) }),
            ["iqn.", "eui.", "naa."].contains(where: name.hasPrefix) || name.split(separator: ":").count == 8
        else { throw .invalid("\(name) is no name of an initiator") }
        guard state.initiators.count < limits.initiatorCount else {
            throw .exceeded("Exceeded maximum number of initiators")
        }
        let initiator = InitiatorRecord(
            initiatorID: state.takeID(), name: name, alias: alias, attributes: attributes)
        state.initiators[initiator.initiatorID] = initiator
        return initiator
    }

    private mutating func createInitiators(_ parameters: inout Parameters) throws(ElementError) -> JSONValue {
        let wanted: [[String: JSONValue]] = try parameters.required("initiators")
        var made: [InitiatorRecord] = []
        for values in wanted {
            var members = Parameters(values)
            members.ignore("requireChap", "chapUsername", "initiatorSecret", "targetSecret", "virtualNetworkIDs")
            let name: String = try members.required("name")
            guard initiator(.named(name)) == nil else { throw .initiatorExists(name) }
            let initiator = try addInitiator(
                named: name, alias: members.optional("alias") ?? "",
                attributes: checkAttributes(members.optional("attributes")) ?? [:])
            if let groupID: Int = try members.optional("volumeAccessGroupID") {
                guard try group(groupID).initiatorIDs.count < limits.initiatorsPerGroup else {
                    throw .exceeded("Exceeded maximum number of Initiators per VolumeAccessGroup")
                }
                state.groups[groupID]?.initiatorIDs.append(initiator.initiatorID)
            }
            try members.finish()
            made.append(initiator)
        }
        return ["initiators": .array(made.map(json))]
    }

    private mutating func modifyInitiator(_ values: [String: JSONValue]) throws(ElementError) -> InitiatorRecord {
        var members = Parameters(values)
        members.ignore("requireChap", "chapUsername", "initiatorSecret", "targetSecret", "virtualNetworkIDs")
        let id: Int = try members.required("initiatorID")
        guard var initiator = state.initiators[id] else { throw .noInitiator("\(id)") }
        if let alias: String = try members.optional("alias") { initiator.alias = alias }
        if let attributes = try checkAttributes(members.optional("attributes")) { initiator.attributes = attributes }
        if let groupID: Int = try members.optional("volumeAccessGroupID") {
            _ = try group(groupID)
            for other in state.groups.keys { state.groups[other]?.initiatorIDs.removeAll { $0 == id } }
            guard try group(groupID).initiatorIDs.count < limits.initiatorsPerGroup else {
                throw .exceeded("Exceeded maximum number of Initiators per VolumeAccessGroup")
            }
            state.groups[groupID]?.initiatorIDs.append(id)
        }
        try members.finish()
        state.initiators[id] = initiator
        return initiator
    }

    private func json(_ initiator: InitiatorRecord) -> JSONValue {
        let groups = state.groups.values.filter { $0.initiatorIDs.contains(initiator.initiatorID) }
        return [
            "alias": .string(initiator.alias), "attributes": .object(initiator.attributes), "chapUsername": nil,
            "initiatorID": .integer(initiator.initiatorID), "initiatorName": .string(initiator.name),
            "initiatorSecret": nil, "requireChap": false, "targetSecret": nil, "virtualNetworkIDs": [],
            "volumeAccessGroups": JSONValue(groups.map(\.volumeAccessGroupID).sorted()),
        ]
    }
}
